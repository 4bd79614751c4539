import ipaddr from 'ipaddr.js'
import { LoginLimit } from './login-limit.ts'

/** Somebody wants to be let in as somebody. */
export interface Attempt {
  readonly identity: string
  /** Where he comes from; empty where that is not known, which only limits the identity. */
  readonly address: string
}

/** Of one user from everywhere: whoever has many addresses has no more guesses for it. */
const FREE_OF_IDENTITY = 25
/** Of one address for everybody: behind it may be an office, or a proxy with everybody. */
const FREE_OF_ADDRESS = 30
const ADDRESS_DELAY_MAX_MS = 60_000
const KNOWN_MS = 30 * 24 * 3600_000
const KNOWN_MAX = 10_000

/**
 * Slows down guesses by what they have in common: the identity and the address together, the address, the identity. Who
 * came in from an address before is there kept back by his own mistakes alone: strangers elsewhere, or beside him, can
 * not keep him out.
 */
export class LoginLimits {
  readonly #now: () => number
  readonly #pairs: LoginLimit
  readonly #identities: LoginLimit
  readonly #addresses: LoginLimit
  readonly #known = new Map<string, number>()

  constructor({ now }: { readonly now: () => number }) {
    this.#now = now
    this.#pairs = new LoginLimit({ now })
    this.#identities = new LoginLimit({ now, free: FREE_OF_IDENTITY })
    this.#addresses = new LoginLimit({ now, free: FREE_OF_ADDRESS, mostMs: ADDRESS_DELAY_MAX_MS })
  }

  /** @returns milliseconds until a try is checked again; 0 where it is now */
  delayMs(attempt: Attempt): number {
    const pair = this.#pairs.delayMs(pairOf(attempt))
    if (this.#isKnown(attempt)) return pair
    const address = networkOf(attempt.address)
    const others = address === '' ? 0 : this.#addresses.delayMs(address)
    return Math.max(pair, others, this.#identities.delayMs(attempt.identity))
  }

  /** To be called before the check, so that many tries at once count as many. */
  begin(attempt: Attempt): void {
    this.#pairs.begin(pairOf(attempt))
    if (this.#isKnown(attempt)) return
    this.#identities.begin(attempt.identity)
    this.#addresses.begin(networkOf(attempt.address))
  }

  /** The try that was begun was right. What others did wrong from there, or as him from elsewhere, stays. */
  succeeded(attempt: Attempt): void {
    const pair = pairOf(attempt)
    this.#pairs.succeeded(pair)
    if (!this.#isKnown(attempt)) {
      this.#identities.takeBack(attempt.identity)
      this.#addresses.takeBack(networkOf(attempt.address))
    }
    this.#known.delete(pair)
    this.#known.set(pair, this.#now())
    const [oldest] = this.#known.keys()
    if (this.#known.size > KNOWN_MAX && oldest !== undefined) this.#known.delete(oldest)
  }

  #isKnown(attempt: Attempt): boolean {
    const at = this.#known.get(pairOf(attempt))
    return at !== undefined && this.#now() - at < KNOWN_MS
  }
}

const pairOf = ({ identity, address }: Attempt): string => `${networkOf(address)} ${identity}`

/** What one customer of a provider has: an address of IPv4, or the 2^64 of IPv6 that come together. */
export function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return address
  const parsed = ipaddr.process(address)
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString()
  const prefix = parsed.parts.slice(0, 4).map((part) => part.toString(16))
  return `${prefix.join(':')}::/64`
}
