import type { Files, ObjectName } from './files.ts'

/** What a file that is being written may have of the quotas: asked for as it grows, and nobody else's meanwhile. */
export class FileRoom implements AsyncDisposable {
  readonly #files: Pick<Files, 'hold' | 'extend' | 'release'>
  #held: Awaited<ReturnType<Files['hold']>> | undefined
  /** One question after another, so that what waits for an answer goes on in its order. */
  #last: Promise<unknown> = Promise.resolve()
  #asking = 0

  constructor(files: Pick<Files, 'hold' | 'extend' | 'release'>) {
    this.#files = files
  }

  /** What is told to `publish`. */
  get lease(): number | undefined {
    return this.#held?.lease
  }

  /** Whether it may have so many bytes, and nothing that came before waits to be told so. */
  has(size: number): boolean {
    return this.#asking === 0 && this.#held !== undefined && size <= this.#held.size
  }

  /** @throws denied, not_found, quota… as a PUT of unknown length would before its bytes come */
  open(name: ObjectName): Promise<void> {
    return this.demand(name, 0)
  }

  /** To be asked before the file has so many bytes. @throws quota */
  demand(name: ObjectName, size: number): Promise<void> {
    return this.#next(async () => {
      this.#held ??= await this.#files.hold(name)
      const { lease, size: allowed } = this.#held
      if (size > allowed) this.#held = { lease, size: await this.#files.extend(lease, size) }
    })
  }

  /** Gives back what was not published; what is asked for later is asked for anew. */
  release(): Promise<void> {
    return this.#next(async () => {
      const held = this.#held
      this.#held = undefined
      if (held) await this.#files.release(held.lease)
    })
  }

  async #next(work: () => Promise<void>): Promise<void> {
    this.#asking++
    const done = this.#last.then(work)
    this.#last = done.catch(() => {})
    try {
      await done
    } finally {
      this.#asking--
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }
}
