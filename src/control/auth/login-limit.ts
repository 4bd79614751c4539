import { hash } from 'node:crypto'

const DELAY_MAX_MS = 5 * 60_000
/** Tries that are free of delay: people mistype. */
const FREE_FAILURES = 5
const FORGET_MS = 3600_000
/** What strangers try must not fill the memory. */
const KEYS_MAX = 10_000
/** Longer keys are kept by their digests. */
const KEY_LENGTH = 128

export interface LoginLimitOptions {
  readonly now: () => number
  /** Failures before the first delay; by default five. */
  readonly free?: number
  /** Longest delay in milliseconds; by default five minutes. */
  readonly mostMs?: number
}

/**
 * Slows down who guesses: after some failures under a key (a user, an address) each further one doubles the time in
 * which nothing is checked, from one second on. It is this process's memory only: a restart forgets it.
 */
export class LoginLimit {
  readonly #now: () => number
  readonly #free: number
  readonly #mostMs: number
  readonly #failures = new Map<string, { count: number; at: number }>()

  constructor({ now, free = FREE_FAILURES, mostMs = DELAY_MAX_MS }: LoginLimitOptions) {
    this.#now = now
    this.#free = free
    this.#mostMs = mostMs
  }

  /** @returns milliseconds until a try is checked again; 0 where it is now */
  delayMs(key: string): number {
    const entry = this.#failures.get(shortened(key))
    if (!entry || entry.count < this.#free) return 0
    const delay = Math.min(1000 * 2 ** (entry.count - this.#free), this.#mostMs)
    // A clock that was set back must not make anybody wait longer than that.
    return Math.min(Math.max(0, entry.at + delay - this.#now()), delay)
  }

  /** To be called before the check, so that many tries at once count as many. */
  begin(key: string): void {
    const now = this.#now()
    const entry = this.#failures.get(shortened(key))
    const count = entry && now - entry.at < FORGET_MS ? entry.count + 1 : 1
    // Set anew, so that the map's order is that of the last try and the oldest goes first.
    this.#failures.delete(shortened(key))
    this.#failures.set(shortened(key), { count, at: now })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > KEYS_MAX && oldest !== undefined) this.#failures.delete(oldest)
  }

  /** Forgets all failures. */
  succeeded(key: string): void {
    this.#failures.delete(shortened(key))
  }

  /** The try that was begun last was none that failed; those before it stay. */
  takeBack(key: string): void {
    const entry = this.#failures.get(shortened(key))
    if (entry) entry.count--
  }
}

const shortened = (key: string): string => (key.length > KEY_LENGTH ? hash('sha256', key) : key)
