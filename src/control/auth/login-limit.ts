/** Tries that are free of delay: people mistype. */
const FREE_FAILURES = 5
const DELAY_MAX_MS = 5 * 60_000
const FORGET_MS = 3600_000
/** Names tried by strangers must not fill the memory. */
const IDENTITIES_MAX = 10_000

/**
 * Slows down who guesses the password of one identity: after five failures each further one doubles the time in which
 * nothing is checked, from one second to five minutes. It is this process's memory only: a restart forgets it.
 */
export class LoginLimit {
  readonly #now: () => number
  readonly #failures = new Map<string, { count: number; at: number }>()

  constructor({ now }: { now: () => number }) {
    this.#now = now
  }

  /** @returns milliseconds until a try is checked again; 0 where it is now */
  delayMs(identity: string): number {
    const entry = this.#failures.get(identity)
    if (!entry || entry.count < FREE_FAILURES) return 0
    const delay = Math.min(1000 * 2 ** (entry.count - FREE_FAILURES), DELAY_MAX_MS)
    return Math.max(0, entry.at + delay - this.#now())
  }

  /** To be called before the check, so that many tries at once count as many. */
  begin(identity: string): void {
    const now = this.#now()
    const entry = this.#failures.get(identity)
    const count = entry && now - entry.at < FORGET_MS ? entry.count + 1 : 1
    // Set anew, so that the map's order is that of the last try and the oldest goes first.
    this.#failures.delete(identity)
    this.#failures.set(identity, { count, at: now })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > IDENTITIES_MAX && oldest !== undefined) this.#failures.delete(oldest)
  }

  succeeded(identity: string): void {
    this.#failures.delete(identity)
  }
}
