/** A fixed set of things that are lent out one at a time, in the order they are asked for. */
export class Resources<T> {
  readonly #free: T[]
  readonly #waiting: { resolve: (thing: T) => void; reject: (reason: unknown) => void }[] = []
  #failure: { reason: unknown } | undefined

  constructor(things: Iterable<T>) {
    this.#free = [...things]
  }

  /**
   * Lends one, as soon as there is one.
   * @throws the reason given to `fail`
   */
  acquire(): Promise<T> {
    if (this.#failure) return Promise.reject(this.#failure.reason)
    const thing = this.#free.pop()
    if (thing !== undefined) return Promise.resolve(thing)
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  release(thing: T): void {
    const next = this.#waiting.shift()
    if (next) next.resolve(thing)
    else this.#free.push(thing)
  }

  /** From now on nobody gets anything: those who wait are told the reason, and all who come later. */
  fail(reason: unknown): void {
    if (this.#failure) return
    this.#failure = { reason }
    for (const waiting of this.#waiting.splice(0)) waiting.reject(reason)
  }
}
