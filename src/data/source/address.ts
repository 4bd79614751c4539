import { BlockList, isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { LibraryError } from '#base/errors.ts'

/** Says whether a connection may go to this IP address, as text; anything that is no IP address may not. */
export type AddressRule = (address: string) => boolean

/**
 * Decides which addresses sources may lie at: public ones, and those the operator opened.
 * @param allow ranges in CIDR notation (`127.0.0.0/8`, `fd00::/8`) that are open although they are private
 * @throws invalid where a range is none
 */
export function createAddressRule(allow: readonly string[]): AddressRule {
  const opened = new BlockList()
  for (const range of allow) {
    const [base = '', prefix = '', ...more] = range.split('/')
    const family = isIP(base)
    const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
    if (family === 0 || more.length > 0 || !(bits <= (family === 4 ? 32 : 128))) {
      throw new LibraryError(
        'invalid',
        `allowed source range ${JSON.stringify(range)} is not in CIDR notation`,
        {
          hint: 'Write it like 10.0.0.0/8 or fd00::/8.',
        },
      )
    }
    opened.addSubnet(base, bits, family === 4 ? 'ipv4' : 'ipv6')
  }
  return (address) => {
    const family = isIP(address)
    if (family === 0) return false
    return opened.check(address, family === 4 ? 'ipv4' : 'ipv6') || isPublic(parse(address, family))
  }
}

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** ipaddr.js takes `::8.8.8.8` for `::ffff:8.8.8.8`, so IPv6 is put in its form without dots first. */
function parse(address: string, family: number): Address {
  if (family === 4) return ipaddr.IPv4.parse(address)
  return ipaddr.IPv6.parse(new URL(`http://[${address.replace(/%.*/, '')}]`).hostname.slice(1, -1))
}

/** The cloud host's own service behind a public address: Azure's wire server, which hands out credentials. */
const CLOUD_HOST = '168.63.129.16'

function isPublic(address: Address): boolean {
  if (address instanceof ipaddr.IPv4)
    return address.range() === 'unicast' && address.toString() !== CLOUD_HOST
  const inside = embeddedIPv4(address)
  if (inside) return isPublic(inside)
  // All that is public lies in 2000::/3; what ipaddr.js has no name for in the rest (::/96, 5f00::/16) is refused.
  return address.match(GLOBAL_UNICAST) && address.range() === 'unicast' && !address.match(DOCUMENTATION)
}

const GLOBAL_UNICAST = ipaddr.parseCIDR('2000::/3')
const DOCUMENTATION = ipaddr.parseCIDR('3fff::/20')
const MAPPED = ipaddr.parseCIDR('::ffff:0:0/96')
const NAT64 = ipaddr.parseCIDR('64:ff9b::/96')
const SIX_TO_FOUR = ipaddr.parseCIDR('2002::/16')

/** The IPv4 address that packets to this IPv6 address end up at, if it is such a one. */
function embeddedIPv4(address: ipaddr.IPv6): ipaddr.IPv4 | undefined {
  const bytes = address.toByteArray()
  if (address.match(MAPPED) || address.match(NAT64)) return new ipaddr.IPv4(bytes.slice(12))
  if (address.match(SIX_TO_FOUR)) return new ipaddr.IPv4(bytes.slice(2, 6))
  return undefined
}
