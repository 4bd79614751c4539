import type { Catalog } from '#control/catalog/catalog.ts'
import { GUARD_MS, RENEW_MS } from '#control/library/overdue.ts'

export interface UploadGuardOptions {
  readonly catalog: Pick<Catalog, 'relaxed'>
  /** Names this process. */
  readonly holder: string
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** The store's. */
  readonly generations: { generation(): Promise<number> }
}

/**
 * Says in the catalog since which generation of the store this process may have written blocks that nothing names yet,
 * which collection therefore leaves alone. One row however many write, and it stays a while after the last one ended,
 * so that uploads that follow one another do not each write it.
 */
export class UploadGuard implements AsyncDisposable {
  readonly #options: UploadGuardOptions
  /** In which generation those who write now began. */
  readonly #began = new Set<{ readonly in: number }>()
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
    const { now, generations } = this.#options
    const held = { in: await generations.generation() }
    this.#began.add(held)
    this.#renewal ??= setInterval(() => void this.renew().catch(() => {}), RENEW_MS).unref()
    try {
      const left = this.#until - now()
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
    const { catalog, holder, now, generations } = this.#options
    return this.#next(async () => {
      const present = await generations.generation()
      const since = Math.min(present, ...[...this.#began].map((held) => held.in))
      const until = now() + GUARD_MS
      await catalog.relaxed((tables) => tables.uploadGuards.set(holder, since, until))
      this.#until = until
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
