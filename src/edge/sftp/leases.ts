/** Things lent to another process, which knows them by number. */
export interface Leases extends AsyncDisposable {
  /** Once everything was given back, what still comes is given back at once. */
  add(thing: AsyncDisposable): Promise<number>
  /** Nothing happens where it was released before. */
  release(lease: number): Promise<void>
}

export function createLeases(): Leases {
  const things = new Map<number, AsyncDisposable>()
  let last = 0
  let closed = false
  return {
    async add(thing) {
      if (closed) await thing[Symbol.asyncDispose]()
      else things.set(++last, thing)
      return last
    },
    async release(lease) {
      const thing = things.get(lease)
      things.delete(lease)
      await thing?.[Symbol.asyncDispose]()
    },
    async [Symbol.asyncDispose]() {
      closed = true
      const left = [...things.values()]
      things.clear()
      await Promise.allSettled(left.map((thing) => thing[Symbol.asyncDispose]()))
    },
  }
}
