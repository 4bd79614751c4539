import type { Catalog } from '#control/catalog/catalog.ts'
import { CLOCK_SLACK_MS } from '#control/catalog/jobs.ts'

/**
 * Far longer than the time between renewals: a machine that was suspended finds its clock an hour on and the next
 * renewal seconds away, and what it was writing must not be collected in these seconds.
 */
const GUARD_MS = 12 * 3_600_000
const RENEW_MS = 20_000

export interface UploadGuardOptions {
  readonly catalog: Pick<Catalog, 'relaxed'>
  /** Names this process. */
  readonly holder: string
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/**
 * Says in the catalog since when this process may have written blocks that nothing names yet, which collection
 * therefore leaves alone. One row however many write, and it stays a while after the last one ended, so that uploads
 * that follow one another do not each write it.
 */
export class UploadGuard implements AsyncDisposable {
  readonly #options: UploadGuardOptions
  /** When those who write now began. */
  readonly #began = new Set<{ at: number }>()
  #renewal: NodeJS.Timeout | undefined
  /** When what stands in the catalog runs out; 0 where nothing stands there. */
  #until = 0
  // Writes go one after another, so that a removal cannot overtake the setting that follows it.
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: UploadGuardOptions) {
    this.#options = options
  }

  /** Resolves once a collection will see it. */
  async keep(): Promise<AsyncDisposable> {
    const { now } = this.#options
    const held = { at: now() }
    this.#began.add(held)
    this.#renewal ??= setInterval(() => void this.renew().catch(() => {}), RENEW_MS).unref()
    try {
      const left = this.#until - held.at
      // More is left than there ever was where the clock was set back.
      if (left < RENEW_MS || left > GUARD_MS) await this.#write()
    } catch (error) {
      this.#began.delete(held)
      throw error
    }
    return {
      [Symbol.asyncDispose]: async () => {
        this.#began.delete(held)
      },
    }
  }

  /** Keeps the row for longer while somebody writes, and else removes it. */
  async renew(): Promise<void> {
    if (this.#began.size > 0) return await this.#write()
    clearInterval(this.#renewal)
    this.#renewal = undefined
    this.#until = 0
    const { catalog, holder } = this.#options
    await this.#next(async () => {
      if (this.#began.size > 0) return
      await catalog.relaxed((tables) => tables.uploadGuards.remove(holder))
    })
  }

  #write(): Promise<void> {
    const { catalog, holder, now } = this.#options
    return this.#next(async () => {
      const at = now()
      // The clock was set back, at the earliest after the last renewal: what was written since has times before `at`.
      for (const held of this.#began) if (held.at > at) held.at = at - CLOCK_SLACK_MS
      const since = Math.min(at, ...[...this.#began].map((held) => held.at))
      await catalog.relaxed((tables) => tables.uploadGuards.set(holder, since, at + GUARD_MS))
      this.#until = at + GUARD_MS
    })
  }

  #next(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change)
    this.#last = done.catch(() => {})
    return done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#began.clear()
    if (this.#until > 0) await this.renew()
    else clearInterval(this.#renewal)
  }
}
