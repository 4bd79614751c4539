import { assert, LibraryError } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'
import { createCodecMemory } from '#data/codec/codec.ts'
import type { KeptBlock } from '#data/store/keep-block.ts'
import { Lane } from './lane.ts'
import { poolLayout, SLOT_SIZE } from './pool-memory.ts'
import { Slots } from './slots.ts'

/** Blocks that all transfers of a process hold at once, about 1 MiB each. */
const SLOTS = 128

/** A place for one block in the memory that the threads share, until it is disposed of. */
export interface Slot extends Disposable {
  readonly address: number
  readonly bytes: Buffer
}

/** The MD5 of bytes that come in order. */
export interface RunningMd5 extends Disposable {
  /** Adds the first `length` bytes of a slot, which must not change until this resolves. */
  update(slot: Slot, length: number): Promise<void>
  /**
   * 32 hex digits: of all bytes so far, and of the first ones of `tail`, which do not count afterwards.
   * @throws unavailable where the thread that held the state died
   */
  digest(tail?: { readonly slot: Slot; readonly length: number }): Promise<string>
}

/** A block that is stored, by name. */
interface BlockName {
  readonly digest: string
  /** Plain bytes. */
  readonly length: number
  /** Bytes at rest. */
  readonly storedLength: number
}

/**
 * Threads that store and load blocks for all transfers of a process, and the memory they share. A thread that dies
 * fails what it was at with `unavailable`, and another takes its place.
 */
export interface BlockPool extends AsyncDisposable {
  /** Lends a slot, waiting for one where too many are lent. @throws the signal's reason */
  acquire(signal: AbortSignal): Promise<Slot>
  /**
   * Stores the first `length` bytes of a slot, which must not change until this resolves.
   * @returns undefined where they are all zeros
   */
  store(slot: Slot, length: number): Promise<KeptBlock | undefined>
  /**
   * Loads a block into a slot: its plain bytes, with the digest verified, or the block at rest, with its XXH32.
   * @throws not_found, corrupt, unavailable, or the signal's reason
   */
  load(block: BlockName, as: 'plain' | 'stored', signal: AbortSignal): Promise<Slot>
  startMd5(): RunningMd5
}

export interface BlockPoolOptions {
  readonly storeDirectory: string
  readonly threads: number
  /** Bytes of the file system that stay free; undefined for a part of it. */
  readonly reserve: number | undefined
  /** Blocks that may be held at once. */
  readonly slots?: number
}

/** Makes a pool; a thread is started when it is first needed. */
export function createBlockPool(options: BlockPoolOptions): BlockPool {
  const { storeDirectory, reserve, threads, slots: count = SLOTS } = options
  const layout = poolLayout(threads, count)
  const memory = createCodecMemory(layout.size)
  const slots = new Slots(layout.slots)
  const lanes = layout.scratch.map((scratch) => new Lane({ memory, scratch, storeDirectory, reserve }))
  let streams = 0

  function lend(address: number): Slot {
    let lent = true
    return {
      address,
      bytes: Buffer.from(memory.buffer, address, SLOT_SIZE),
      [Symbol.dispose]() {
        if (lent) slots.release(address)
        lent = false
      },
    }
  }

  /** The least busy one; a thread is started only where all that run have work. */
  function pickLane(): Lane {
    const [first, ...others] = lanes.filter((lane) => lane.isRunning)
    let best = first
    for (const lane of others) if (best === undefined || lane.busy < best.busy) best = lane
    if (best?.busy === 0) return best
    const idle = lanes.find((lane) => !lane.isRunning) ?? best
    assert(idle, 'a pool has at least one thread')
    return idle
  }

  async function loadInto(slot: Slot, block: BlockName, kind: 'plain' | 'stored'): Promise<Slot> {
    const { digest, storedLength, length } = block
    try {
      await pickLane().run({ kind, digest, storedLength, address: slot.address, length })
      return slot
    } catch (error) {
      slot[Symbol.dispose]()
      throw error
    }
  }

  return {
    acquire: async (signal) => lend(await slots.acquire(signal)),
    async store({ address }, length) {
      return (await pickLane().run({ kind: 'store', address, length })) as KeptBlock | undefined
    },
    async load(block, as, signal) {
      const loading = loadInto(lend(await slots.acquire(signal)), block, as)
      try {
        return await orAbort(loading, signal)
      } catch (error) {
        // The thread does not know that nobody waits any more.
        loading.then(
          (slot) => slot[Symbol.dispose](),
          () => {},
        )
        throw error
      }
    },
    startMd5: () => startMd5(pickLane, ++streams),
    async [Symbol.asyncDispose]() {
      slots.close()
      await Promise.all(lanes.map((lane) => lane[Symbol.asyncDispose]()))
    },
  }
}

/** The state stays in the thread where it was begun. */
function startMd5(pickLane: () => Lane, stream: number): RunningMd5 {
  let home: { readonly lane: Lane; readonly life: number } | undefined
  const homeLane = (): Lane => {
    if (!home) {
      const lane = pickLane()
      home = { lane, life: lane.life }
    }
    if (home.life === home.lane.life) return home.lane
    throw new LibraryError('unavailable', 'hash an upload: the thread that did it has ended')
  }
  return {
    async update({ address }, length) {
      await homeLane().run({ kind: 'md5-update', stream, address, length })
    },
    async digest(tail) {
      const place = { address: tail?.slot.address ?? 0, length: tail?.length ?? 0 }
      return (await homeLane().run({ kind: 'md5-digest', stream, ...place })) as string
    },
    [Symbol.dispose]() {
      home?.lane.tell({ kind: 'md5-forget', stream })
    },
  }
}
