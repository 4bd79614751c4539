import { assert } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import { createCodecMemory } from '#data/codec/codec.ts'
import type { KeptBlock } from '#data/store/keep-block.ts'
import type { StorePlace } from '#data/store/open-store.ts'
import { Lane, type PoolObserver } from './lane.ts'
import { outputsFor, poolLayout, SLOT_SIZE } from './pool-memory.ts'
import { RunningMd5 } from './running-md5.ts'
import { Slots } from './slots.ts'

/** Blocks in the shared memory at once, about 1 MiB each. */
const SLOTS = 128
/** Of these, so many are never given to a client's pace: they are free again as soon as a thread is done. */
const WORKING_SHARE = 1 / 4
/** Rooms outside of the shared memory that are kept for the next who needs one. */
const SPARE = 32
/** With so many tasks waiting for each thread, more would only wait longer. */
const ENOUGH_PER_THREAD = 3

/** Room for one block, plain or at rest, until it is disposed of, which may happen twice. */
export interface Room extends Disposable {
  readonly bytes: Buffer
  /** In the shared memory; undefined where that was too full. */
  readonly address: number | undefined
}

/** A block that is stored, by name. */
export interface BlockName {
  readonly digest: string
  /** Plain bytes. */
  readonly length: number
  /** Bytes at rest. */
  readonly storedLength: number
}

/** The first `length` bytes of a room, which must not change until the call that they are given to resolves. */
export interface RoomBytes {
  readonly room: Room
  readonly length: number
}

/**
 * Threads that store and load blocks for all transfers of a process, and the memory they share. A thread that dies
 * fails what it was at with `unavailable`, and another takes its place.
 */
export interface BlockPool extends AsyncDisposable {
  /**
   * Gives room for a block, for as long as a client takes to fill it: in the shared memory, or where many have that
   * already, in memory of its own, which is copied when it is stored. So no client can keep others from going on.
   */
  room(): Room
  /** Whether all threads have enough to do: then nobody should have several blocks under way. */
  readonly isBusy: boolean
  /**
   * Stores a block, and adds it to an MD5 on another thread meanwhile.
   * @returns undefined where its bytes are all zeros
   */
  store(bytes: RoomBytes, options: { signal: AbortSignal; md5?: RunningMd5 }): Promise<KeptBlock | undefined>
  /**
   * Loads a block: its plain bytes, with the digest verified, or the block at rest, with its XXH32.
   * @throws not_found, corrupt, unavailable, or the signal's reason
   */
  load(block: BlockName, as: 'plain' | 'stored', signal: AbortSignal): Promise<Room>
  /** Adds bytes to an MD5 alone. */
  sum(bytes: RoomBytes, md5: RunningMd5, signal: AbortSignal): Promise<void>
  startMd5(): RunningMd5
}

export interface BlockPoolOptions extends PoolObserver {
  readonly storePlace: StorePlace
  readonly threads: number
  /** Bytes of the file system that stay free; undefined for a part of it. */
  readonly reserve: number | undefined
  /** Blocks in the shared memory at once. */
  readonly slots?: number
}

/** Makes a pool; a thread is started when it is first needed. */
export function createBlockPool(options: BlockPoolOptions): BlockPool {
  return new Pool(options)
}

class Pool implements BlockPool {
  readonly #memory: WebAssembly.Memory
  readonly #slots: Slots
  readonly #lanes: readonly Lane[]
  /** Rooms in the shared memory that clients may hold. */
  #roomsLeft: number
  readonly #spare: Buffer[] = []
  #streams = 0

  constructor({ storePlace, reserve, threads, slots = SLOTS, ...observer }: BlockPoolOptions) {
    const layout = poolLayout(threads, slots, outputsFor(storePlace))
    const memory = createCodecMemory(layout.size)
    this.#memory = memory
    this.#slots = new Slots(layout.slots)
    this.#lanes = layout.scratch.map(
      (scratch) => new Lane({ memory, scratch, storePlace, reserve }, observer),
    )
    this.#roomsLeft = slots - Math.ceil(slots * WORKING_SHARE)
  }

  room(): Room {
    const address = this.#roomsLeft > 0 ? this.#slots.take() : undefined
    return address === undefined ? this.#ownRoom() : this.#lend(address)
  }

  #lend(address: number): Room {
    this.#roomsLeft--
    let lent = true
    return {
      address,
      bytes: Buffer.from(this.#memory.buffer, address, SLOT_SIZE),
      [Symbol.dispose]: () => {
        if (!lent) return
        lent = false
        this.#roomsLeft++
        this.#slots.release(address)
      },
    }
  }

  /** Not left to the garbage collector, which comes late for memory that is not its own. */
  #ownRoom(): Room {
    // Untouched pages of a large buffer cost nothing.
    const bytes = this.#spare.pop() ?? Buffer.allocUnsafeSlow(SLOT_SIZE)
    let lent = true
    return {
      address: undefined,
      bytes,
      [Symbol.dispose]: () => {
        if (lent && this.#spare.length < SPARE) this.#spare.push(bytes)
        lent = false
      },
    }
  }

  get isBusy(): boolean {
    const waiting = this.#lanes.reduce((sum, lane) => sum + lane.busy, 0)
    return waiting >= ENOUGH_PER_THREAD * this.#lanes.length
  }

  async store({ room, length }: RoomBytes, { signal, md5 }: { signal: AbortSignal; md5?: RunningMd5 }) {
    using turn = md5?.turn()
    return await this.#inSlot({ room, length }, signal, async (address) => {
      const summing = turn?.update({ address, length })
      const storing = this.#pickLane().run({ kind: 'store', address, length })
      // Both read the slot: it is not to be used for anything else before both are done.
      await Promise.allSettled([summing, storing])
      await summing
      return (await storing) as KeptBlock | undefined
    })
  }

  /** Runs `work` where the bytes lie, or on a copy of them where threads can see it. */
  async #inSlot<T>(
    { room, length }: RoomBytes,
    signal: AbortSignal,
    work: (address: number) => Promise<T>,
  ): Promise<T> {
    if (room.address !== undefined) return await work(room.address)
    const address = await this.#slots.acquire(signal)
    try {
      Buffer.from(this.#memory.buffer, address, length).set(room.bytes.subarray(0, length))
      return await work(address)
    } finally {
      this.#slots.release(address)
    }
  }

  async load(block: BlockName, as: 'plain' | 'stored', signal: AbortSignal): Promise<Room> {
    const loading = this.#load(await this.#slots.acquire(signal), block, as)
    try {
      return await orAbort(loading, signal)
    } catch (error) {
      // The thread does not know that nobody waits any more.
      loading.then(
        (room) => room[Symbol.dispose](),
        () => {},
      )
      throw error
    }
  }

  async #load(address: number, block: BlockName, kind: 'plain' | 'stored'): Promise<Room> {
    const { digest, storedLength, length } = block
    try {
      await this.#pickLane().run({ kind, digest, storedLength, address, length })
    } catch (error) {
      this.#slots.release(address)
      throw error
    }
    if (this.#roomsLeft > 0) return this.#lend(address)
    const room = this.#ownRoom()
    room.bytes.set(Buffer.from(this.#memory.buffer, address, Math.max(length, storedLength)))
    this.#slots.release(address)
    return room
  }

  async sum({ room, length }: RoomBytes, md5: RunningMd5, signal: AbortSignal): Promise<void> {
    using turn = md5.turn()
    await this.#inSlot({ room, length }, signal, (address) => turn.update({ address, length }))
  }

  startMd5(): RunningMd5 {
    return new RunningMd5({ nextStream: () => ++this.#streams, pickLane: () => this.#pickLane() })
  }

  /** The least busy one; a thread is started only where all that run have work. */
  #pickLane(): Lane {
    const [first, ...others] = this.#lanes.filter((lane) => lane.isRunning)
    let best = first
    for (const lane of others) if (best === undefined || lane.busy < best.busy) best = lane
    if (best?.busy === 0) return best
    const lane = this.#lanes.find((lane) => !lane.isRunning) ?? best
    assert(lane, 'a pool has at least one thread')
    return lane
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#slots.close()
    await Promise.all(this.#lanes.map((lane) => lane[Symbol.asyncDispose]()))
  }
}
