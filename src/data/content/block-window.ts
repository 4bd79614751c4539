import { BLOCK_SIZE, blockLength } from '#data/block/block.ts'
import type { BlockPool, Room } from '#data/pool/block-pool.ts'
import type { EntryTable } from './entry-table.ts'
import type { OrderedSum } from './ordered-sum.ts'
import type { StoredContent } from './stored-content.ts'

/** Blocks of one editor in memory, those that are being stored included. */
const HELD = 4

/** A block in memory; what lies past the end of the disk is zeros. */
interface HeldBlock {
  readonly room: Room
  isDirty: boolean
  /** Bytes written, counted again where they were written again. */
  written: number
  /** Set while it is stored; never rejects. Then it may be read, not changed, and it goes at the end. */
  storing: Promise<void> | undefined
}

export interface WindowDeps {
  readonly pool: BlockPool
  readonly stored: StoredContent
  readonly entries: EntryTable
  readonly sum: OrderedSum
  readonly signal: AbortSignal
}

/**
 * The few blocks of a changing disk that are in memory. Those that must go are stored and their entries set; a block
 * that is not here is where its entry says. Calls come one after another; the disk's size is that at the call. Where it
 * changes, the block at the old or new end is brought before, and changed after.
 */
export class BlockWindow implements AsyncDisposable {
  readonly #deps: WindowDeps
  /** Least recently used first. */
  readonly #held = new Map<number, HeldBlock>()
  #failure: { readonly reason: unknown } | undefined

  constructor(deps: WindowDeps) {
    this.#deps = deps
  }

  has(index: number): boolean {
    return this.#held.has(index)
  }

  /** The bytes of a block, to be read at once. */
  async read(index: number, diskSize: number): Promise<Uint8Array> {
    return (this.#held.get(index) ?? (await this.#take(index, diskSize))).room.bytes
  }

  /**
   * Changes `count` bytes of a block by way of `write`; where it is full then, it is stored as soon as others allow.
   */
  async change(
    index: number,
    { diskSize, count }: { diskSize: number; count: number },
    write: (bytes: Uint8Array) => void,
  ): Promise<void> {
    const held = await this.#take(index, diskSize)
    write(held.room.bytes)
    held.isDirty = true
    held.written += count
    this.#deps.sum.changed(index)
    this.#storeFull(diskSize)
  }

  /** Stores full blocks in the order in which they are summed; one whose turn will not come any more, at once. */
  #storeFull(diskSize: number): void {
    const { sum } = this.#deps
    for (let turn = sum.next; this.#isFull(turn); turn++) this.#store(turn, diskSize)
    if (this.#held.has(sum.next)) return
    for (const index of this.#held.keys()) if (this.#isFull(index)) this.#store(index, diskSize)
  }

  #isFull(index: number): boolean {
    const held = this.#held.get(index)
    return held?.isDirty === true && held.written >= BLOCK_SIZE
  }

  /** Has a block in memory for the next call. */
  async bring(index: number, diskSize: number): Promise<void> {
    await this.#take(index, diskSize)
  }

  async #take(index: number, diskSize: number): Promise<HeldBlock> {
    await this.#held.get(index)?.storing
    this.#throwFailure()
    const held = this.#held.get(index) ?? (await this.#load(index, diskSize))
    this.#held.delete(index)
    this.#held.set(index, held)
    return held
  }

  async #load(index: number, diskSize: number): Promise<HeldBlock> {
    while (this.#held.size >= HELD) await this.#pushOut(diskSize)
    const { pool, entries, signal } = this.#deps
    const entry = await entries.get(index)
    const length = entry ? blockLength(diskSize, index) : 0
    const room = entry ? await pool.load({ ...entry, length }, 'plain', signal) : pool.room()
    room.bytes.fill(0, length, BLOCK_SIZE)
    return { room, isDirty: false, written: 0, storing: undefined }
  }

  async #pushOut(diskSize: number): Promise<void> {
    const storing = [...this.#held.values()].flatMap((held) => held.storing ?? [])
    const [oldest] = this.#held.keys()
    if (storing.length > 0) await Promise.race(storing)
    else if (oldest !== undefined && !this.#store(oldest, diskSize)) this.#drop(oldest)
    this.#throwFailure()
  }

  /** @returns whether there is anything to store, now or already */
  #store(index: number, diskSize: number): boolean {
    const held = this.#held.get(index)
    if (!held?.isDirty) return false
    held.storing ??= this.#keep(index, held, blockLength(diskSize, index))
    return true
  }

  async #keep(index: number, { room }: HeldBlock, length: number): Promise<void> {
    const { stored, entries, sum, signal } = this.#deps
    try {
      const md5 = sum.follow(index, length)
      const block = await stored.put({ room, length }, { signal, ...(md5 && { md5 }) })
      await entries.set(index, block)
    } catch (reason) {
      this.#failure ??= { reason }
    } finally {
      this.#drop(index)
    }
  }

  #drop(index: number): void {
    this.#held.get(index)?.room[Symbol.dispose]()
    this.#held.delete(index)
  }

  /** Stores what was changed, and empties the window. */
  async flush(diskSize: number): Promise<void> {
    for (const index of [...this.#held.keys()].sort((a, b) => a - b))
      if (!this.#store(index, diskSize)) this.#drop(index)
    await this.#settled()
    this.#throwFailure()
  }

  /** Forgets the blocks from `blocks` on. */
  async cut(blocks: number): Promise<void> {
    await this.#settled()
    this.#throwFailure()
    for (const index of [...this.#held.keys()]) if (index >= blocks) this.#drop(index)
  }

  async #settled(): Promise<void> {
    await Promise.all([...this.#held.values()].map((held) => held.storing))
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.reason
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#settled()
    for (const index of [...this.#held.keys()]) this.#drop(index)
  }
}
