import type { Catalog } from '#control/catalog/catalog.ts'

const PIN_MS = 60_000
const RENEW_MS = 20_000

export interface PinsOptions {
  readonly catalog: Pick<Catalog, 'relaxed'>
  /** Names this process. */
  readonly holder: string
  readonly now: () => number
}

/** Manifests that this process is reading: one row each, however many readers there are, renewed while there is one. */
export class ReaderPins implements AsyncDisposable {
  readonly #options: PinsOptions
  readonly #counts = new Map<string, number>()
  #renewal: NodeJS.Timeout | undefined
  // Writes go one after another, so that a removal cannot overtake the setting that follows it.
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: PinsOptions) {
    this.#options = options
  }

  /** Resolves once a collection will see it. */
  async acquire(manifest: string): Promise<AsyncDisposable> {
    const { holder } = this.#options
    this.#counts.set(manifest, (this.#counts.get(manifest) ?? 0) + 1)
    this.#renewal ??= setInterval(() => void this.renew().catch(() => {}), RENEW_MS).unref()
    try {
      await this.#write((catalog, until) =>
        catalog.relaxed((tables) => tables.pins.set(manifest, holder, until)),
      )
    } catch (error) {
      await this.#release(manifest).catch(() => {})
      throw error
    }
    let released = false
    return {
      [Symbol.asyncDispose]: async () => {
        if (!released) await this.#release(manifest)
        released = true
      },
    }
  }

  async #release(manifest: string): Promise<void> {
    const count = (this.#counts.get(manifest) ?? 1) - 1
    if (count > 0) {
      this.#counts.set(manifest, count)
      return
    }
    this.#counts.delete(manifest)
    if (this.#counts.size === 0) {
      clearInterval(this.#renewal)
      this.#renewal = undefined
    }
    const { holder } = this.#options
    await this.#write(async (catalog) => {
      if (!this.#counts.has(manifest)) await catalog.relaxed((tables) => tables.pins.remove(manifest, holder))
    })
  }

  /** Keeps what is held for another minute, even where somebody took it for abandoned. */
  async renew(): Promise<void> {
    const { holder } = this.#options
    await this.#write((catalog, until) =>
      catalog.relaxed(async ({ pins }) => {
        for (const manifest of this.#counts.keys()) await pins.set(manifest, holder, until)
      }),
    )
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
