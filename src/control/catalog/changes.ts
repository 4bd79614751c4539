/** What others may wait for. */
export type Topic = 'events' | 'jobs'

/** Tells whoever waits for a change that it is worth looking: it may be told too often, and now and then not at all. */
export class Changes {
  readonly #listeners = new Map<Topic, Set<() => void>>()

  subscribe(topic: Topic, listener: () => void): Disposable {
    // One of its own, so that the same function may subscribe twice.
    const told = () => listener()
    const listeners = this.#listeners.get(topic) ?? new Set()
    this.#listeners.set(topic, listeners.add(told))
    return { [Symbol.dispose]: () => void listeners.delete(told) }
  }

  tell(topic: Topic): void {
    for (const listener of this.#listeners.get(topic) ?? []) listener()
  }
}
