import { createHmac, timingSafeEqual } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import type { TempUrlRequest } from './orbit.ts'

/** What a temporary URL is signed for. Texts as they came; the path is decoded. */
interface SignedUrl {
  readonly method: string
  /** `/v1/acc-xxxxx/container/object`, or for all objects with a prefix `prefix:/v1/acc-xxxxx/container/prefix`. */
  readonly path: string
  /** Seconds since 1970. */
  readonly expires: number
  readonly ipRange: string | undefined
}

export type Digest = 'sha1' | 'sha256' | 'sha512'

interface Signature {
  readonly digest: Digest
  readonly bytes: Buffer
}

const SIZES: Readonly<Record<Digest, number>> = { sha1: 20, sha256: 32, sha512: 64 }
const DIGESTS: readonly Digest[] = ['sha1', 'sha256', 'sha512']

/** Methods for which a temporary URL can be signed, each with those whose signature lets it pass. */
const SIGNED_FOR: Readonly<Record<string, readonly string[]>> = {
  GET: ['GET'],
  HEAD: ['HEAD', 'GET', 'PUT', 'POST'],
  PUT: ['PUT'],
  POST: ['POST'],
  DELETE: ['DELETE'],
}

/** HMAC of what is signed. @param key bytes of the key's header value */
function signTempUrl(digest: Digest, key: Uint8Array, url: SignedUrl): Buffer {
  const lines = [url.method, String(url.expires), url.path]
  if (url.ipRange) lines.unshift(`ip=${url.ipRange}`)
  return createHmac(digest, key).update(lines.join('\n')).digest()
}

/** Hex digits, whose count tells the digest, or `sha256:` and Base64 in either alphabet, padded or not. */
export function parseSignature(text: string): Signature | undefined {
  const colon = text.indexOf(':')
  if (colon < 0) {
    const digest = DIGESTS.find((name) => SIZES[name] * 2 === text.length)
    if (!digest || !/^[0-9a-f]+$/.test(text)) return undefined
    return { digest, bytes: Buffer.from(text, 'hex') }
  }
  const digest = DIGESTS.find((name) => name === text.slice(0, colon))
  const value = text.slice(colon + 1)
  if (!digest || !/^([A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}$/.test(value)) return undefined
  const bytes = Buffer.from(value, 'base64')
  return bytes.length === SIZES[digest] ? { digest, bytes } : undefined
}

/** Seconds since 1970, as such or as `2026-01-02T03:04:05Z`. */
export function parseExpires(text: string): number | undefined {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text)) return undefined
  const ms = Date.parse(text)
  // The 30th of February is none, though it can be parsed.
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 19) !== text.slice(0, 19)) return undefined
  return ms / 1000
}

/** Whether an address lies in a range: one address, or CIDR; both of version 4 or 6. */
export function isInRange(address: string, range: string): boolean {
  const [network = '', prefix, ...rest] = range.split('/')
  const bits = isIP(network) === 4 ? 32 : 128
  if (isIP(network) === 0 || isIP(address) === 0 || network.includes('%') || rest.length > 0) return false
  if (prefix !== undefined && (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)) return false
  const list = new BlockList()
  list.addSubnet(network, prefix === undefined ? bits : Number(prefix), isIP(network) === 4 ? 'ipv4' : 'ipv6')
  // Finds an address of version 4 also where a listener for both versions writes it as `::ffff:`.
  return list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
}

/** A temporary URL taken apart, all of it right but for the signature, which needs a key. */
export interface ParsedTempUrl {
  readonly account: string
  readonly container: string
  readonly signature: Signature
  /** One for each method whose signature will do. */
  readonly signed: readonly SignedUrl[]
}

/** @param now milliseconds since 1970 @returns undefined where no key could make it right */
export function parseTempUrl(request: TempUrlRequest, now: number): ParsedTempUrl | undefined {
  const { method, path, prefix, ipRange } = request
  const signature = parseSignature(request.signature ?? '')
  const expires = parseExpires(request.expires ?? '')
  const methods = Object.hasOwn(SIGNED_FOR, method) ? SIGNED_FOR[method] : undefined
  const [, account, container, object] = /^\/v1\/([^/]+)\/([^/]+)\/(.*[^/].*)$/s.exec(path) ?? []
  if (!signature || expires === undefined || !methods) return undefined
  if (account === undefined || container === undefined || object === undefined) return undefined
  if (expires < Math.floor(now / 1000)) return undefined
  if (prefix !== undefined && !object.startsWith(prefix)) return undefined
  if (ipRange && !isInRange(request.clientIp, ipRange)) return undefined
  const signedPath = prefix === undefined ? path : `prefix:/v1/${account}/${container}/${prefix}`
  const signed = methods.map((signedMethod) => ({ method: signedMethod, path: signedPath, expires, ipRange }))
  return { account, container, signature, signed }
}

/** Whether the key made the signature. Takes as long wherever they differ. */
export function isSignedBy(key: Uint8Array, { signature, signed }: ParsedTempUrl): boolean {
  const { digest, bytes } = signature
  return signed.map((url) => timingSafeEqual(signTempUrl(digest, key, url), bytes)).includes(true)
}
