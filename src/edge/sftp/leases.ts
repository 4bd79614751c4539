import type { ObjectRoom } from '#control/orbit/orbit.ts'

type Thing = AsyncDisposable | ObjectRoom

/** Things lent to another process, which knows them by number. */
export interface Leases extends AsyncDisposable {
  /** Once everything was given back, what still comes is given back at once. */
  add(thing: Thing): Promise<number>
  /** Room for a file that was lent; undefined where it was released. */
  getRoom(lease: number): ObjectRoom | undefined
  /** Nothing happens where it was released before. */
  release(lease: number): Promise<void>
}

export function createLeases(): Leases {
  const things = new Map<number, Thing>()
  let last = 0
  let closed = false
  return {
    async add(thing) {
      if (closed) await giveBack(thing)
      else things.set(++last, thing)
      return last
    },
    getRoom(lease) {
      const thing = things.get(lease)
      return thing && isRoom(thing) ? thing : undefined
    },
    async release(lease) {
      const thing = things.get(lease)
      things.delete(lease)
      if (thing) await giveBack(thing)
    },
    async [Symbol.asyncDispose]() {
      closed = true
      const left = [...things.values()]
      things.clear()
      await Promise.allSettled(left.map(giveBack))
    },
  }
}

const isRoom = (thing: Thing): thing is ObjectRoom => 'extend' in thing

async function giveBack(thing: Thing): Promise<void> {
  await using _thing = thing
}
