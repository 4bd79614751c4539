import { MiB } from '#base/bytes.ts'
import type { Promised } from '#base/ledger.ts'
import type { ContainerRecord } from '#control/catalog/containers.ts'
import type { OrbitDeps } from './deps.ts'
import type { ObjectRoom } from './orbit.ts'
import { countKeyOf, demandRoom, exceeded, keysOf } from './quotas.ts'

/** So many bytes are let in at a time where nobody said before how many there will be; fewer near a quota. */
const STEP = 8 * MiB
/** Steps that must be left where a whole one is let in, so that the last bytes go to who needs them. */
const NEAR = 16

export interface HeldRoomDeps {
  readonly deps: OrbitDeps
  readonly container: ContainerRecord
  readonly object: string
  /** Whether there is any quota. */
  readonly isBound: boolean
}

/** What an object that comes in takes of the quotas, and so nobody else can, until it is there or given up. */
export class HeldRoom implements ObjectRoom {
  readonly #where: HeldRoomDeps
  readonly #bytes: Promised
  readonly #objects: Promised
  #allowed: number

  constructor(where: HeldRoomDeps) {
    const { deps, container, isBound } = where
    this.#where = where
    this.#bytes = deps.promised.take(keysOf(container))
    this.#objects = deps.promised.take([countKeyOf(container)])
    this.#allowed = isBound ? -1 : Number.POSITIVE_INFINITY
  }

  get mine() {
    return { bytes: this.#bytes.amount, objects: this.#objects.amount }
  }

  async extend(size: number, { isAll = false } = {}): Promise<number> {
    if (size <= this.#allowed) return this.#allowed
    const { deps, container, object } = this.#where
    await deps.catalog.snapshot(async (tables) => {
      // One that is gone is told of where the object is to be put into it.
      const here = (await tables.containers.find(container.accountId, container.name)) ?? container
      const replaced = await tables.objects.findIn(here.id, object)
      const isKept = here.versions !== null
      const room = await demandRoom(deps, tables, here, { replaced, isKept, mine: this.mine })
      if (room < size) throw exceeded()
      this.#allowed = !isAll && room - size > NEAR * STEP ? size + STEP : size
      this.#bytes.set(Math.max(0, this.#allowed - (isKept ? 0 : (replaced?.size ?? 0))))
      this.#objects.set(replaced ? 0 : 1)
    })
    return this.#allowed
  }

  [Symbol.dispose](): void {
    this.#bytes[Symbol.dispose]()
    this.#objects[Symbol.dispose]()
  }
}
