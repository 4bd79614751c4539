/** S3 takes so many in one request. */
const KEYS_MAX = 1000

/**
 * Gathers what is to be deleted while a request is under way, and has all of it deleted by the next one: those who
 * delete many things at once send few requests, and one alone does not wait.
 */
export class DeleteBatch {
  readonly #deleteMany: (keys: readonly string[]) => Promise<void>
  #waiting: string[] = []
  #next: Promise<void> | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(deleteMany: (keys: readonly string[]) => Promise<void>) {
    this.#deleteMany = deleteMany
  }

  /** Resolves once it is deleted. */
  async add(key: string): Promise<void> {
    this.#waiting.push(key)
    this.#next ??= this.#start()
    await this.#next
  }

  async #start(): Promise<void> {
    await this.#running
    const keys = this.#waiting
    this.#waiting = []
    this.#next = undefined
    const work = this.#deleteAll(keys)
    this.#running = work.catch(() => undefined)
    await work
  }

  async #deleteAll(keys: readonly string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += KEYS_MAX) await this.#deleteMany(keys.slice(at, at + KEYS_MAX))
  }
}
