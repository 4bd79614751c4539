import type { Catalog } from '#control/catalog/catalog.ts'
import { PIN_MS, RENEW_MS } from './overdue.ts'

export interface PinsOptions {
  readonly catalog: Pick<Catalog, 'relaxed'>
  /** Names this process. */
  readonly holder: string
  readonly now: () => number
}

interface Reader {
  count: number
  /** The setting that covers it, and until when. */
  written: Promise<void>
  until: number
}

/** Manifests that this process is reading: one row each, however many readers there are, renewed while there is one. */
export class ReaderPins implements AsyncDisposable {
  readonly #options: PinsOptions
  readonly #readers = new Map<string, Reader>()
  #renewal: NodeJS.Timeout | undefined
  // Writes go one after another, so that a removal cannot overtake the setting that follows it.
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: PinsOptions) {
    this.#options = options
  }

  /**
   * Resolves once a collection will see them all: one write at most, and none where all are being read already.
   * Disposing of it never fails: what was read is read, and a pin that could not be removed runs out.
   */
  async acquire(manifests: Iterable<string>): Promise<AsyncDisposable> {
    const wanted = [...new Set(manifests)]
    const readers = this.#enter(wanted)
    try {
      await Promise.all(readers.map((reader) => reader.written))
    } catch (error) {
      await this.#release(wanted).catch(() => {})
      throw error
    }
    let released = false
    return {
      [Symbol.asyncDispose]: async () => {
        if (!released) await this.#release(wanted).catch(() => {})
        released = true
      },
    }
  }

  #enter(manifests: readonly string[]): Reader[] {
    const now = this.#options.now()
    // A process that slept may hold what somebody took for abandoned since.
    const unset = manifests.filter((manifest) => (this.#readers.get(manifest)?.until ?? 0) <= now)
    const written = unset.length === 0 ? Promise.resolve() : this.#set(unset)
    const until = now + PIN_MS
    for (const manifest of unset) {
      const count = this.#readers.get(manifest)?.count ?? 0
      this.#readers.set(manifest, { count, written, until })
    }
    const readers = manifests
      .map((manifest) => this.#readers.get(manifest))
      .filter((reader) => reader !== undefined)
    for (const reader of readers) reader.count++
    if (readers.length > 0)
      this.#renewal ??= setInterval(() => void this.renew().catch(() => {}), RENEW_MS).unref()
    return readers
  }

  #set(manifests: Iterable<string>): Promise<void> {
    const { holder } = this.#options
    return this.#write((catalog, until) =>
      catalog.relaxed(async ({ pins }) => {
        for (const manifest of manifests) await pins.set(manifest, holder, until)
      }),
    )
  }

  async #release(manifests: readonly string[]): Promise<void> {
    const unread: string[] = []
    for (const manifest of manifests) {
      const reader = this.#readers.get(manifest)
      if (!reader || --reader.count > 0) continue
      this.#readers.delete(manifest)
      unread.push(manifest)
    }
    if (this.#readers.size === 0) {
      clearInterval(this.#renewal)
      this.#renewal = undefined
    }
    if (unread.length === 0) return
    const { holder } = this.#options
    await this.#write((catalog) =>
      catalog.relaxed(async ({ pins }) => {
        // Whoever has begun to read one since has its setting behind this removal.
        for (const manifest of unread) await pins.remove(manifest, holder)
      }),
    )
  }

  /** Keeps what is held for another minute, even where somebody took it for abandoned. */
  async renew(): Promise<void> {
    const until = this.#options.now() + PIN_MS
    await this.#set(this.#readers.keys())
    for (const reader of this.#readers.values()) reader.until = Math.max(reader.until, until)
  }

  #write(change: (catalog: Pick<Catalog, 'relaxed'>, until: number) => Promise<void>): Promise<void> {
    const { catalog, now } = this.#options
    const done = this.#last.then(() => change(catalog, now() + PIN_MS))
    this.#last = done.catch(() => {})
    return done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renewal)
    this.#renewal = undefined
    await this.#last
  }
}
