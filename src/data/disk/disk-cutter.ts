import { BLOCK_SIZE } from '#data/block/block.ts'
import { TAIL_SIZE } from '#data/format/probe.ts'
import type { BlockPipeline } from './block-pipeline.ts'

type Pipeline = Pick<BlockPipeline, 'bytes' | 'acquireSlot' | 'submitBlock'>

export const SECTOR = 512

/** Cuts a stream of a disk's plain bytes into blocks and submits them, copying each byte once. */
export class DiskCutter {
  readonly #pipeline: Pipeline
  #slot: number | undefined
  #filled = 0
  #position = 0
  /** The last bytes of the disk, at most 512. */
  tail: Uint8Array = new Uint8Array(0)

  constructor(pipeline: Pipeline) {
    this.#pipeline = pipeline
  }

  /** Bytes of the disk seen so far. */
  get position(): number {
    return this.#position
  }

  async write(chunk: Uint8Array): Promise<void> {
    let taken = 0
    while (taken < chunk.length) {
      this.#slot ??= await this.#pipeline.acquireSlot()
      const count = Math.min(BLOCK_SIZE - this.#filled, chunk.length - taken)
      this.#pipeline.bytes.set(chunk.subarray(taken, taken + count), this.#slot + this.#filled)
      this.#filled += count
      this.#position += count
      taken += count
      if (this.#filled === BLOCK_SIZE) this.#submit()
    }
    this.#keepTail(chunk)
  }

  /** Goes on behind `length` bytes that were submitted in another way; only at a block border. */
  skip(length: number): void {
    this.#position += length
  }

  get atBlockBorder(): boolean {
    return this.#position % BLOCK_SIZE === 0
  }

  /**
   * Submits what is left, padded with zeros to a whole sector as QEMU reads it.
   * @returns the disk's size in bytes
   */
  async finish(): Promise<number> {
    const padding = (SECTOR - (this.#position % SECTOR)) % SECTOR
    if (padding > 0) {
      const tail = this.tail
      await this.write(new Uint8Array(padding))
      this.tail = tail
    }
    if (this.#filled > 0) this.#submit()
    return this.#position
  }

  #submit(): void {
    const { position, slot, filled } = { position: this.#position, slot: this.#slot, filled: this.#filled }
    if (slot === undefined) return
    this.#slot = undefined
    this.#filled = 0
    this.#pipeline.submitBlock((position - filled) / BLOCK_SIZE, slot, filled)
  }

  #keepTail(chunk: Uint8Array): void {
    if (chunk.length >= TAIL_SIZE) {
      this.tail = chunk.slice(-TAIL_SIZE)
    } else if (chunk.length > 0) {
      const joined = new Uint8Array(this.tail.length + chunk.length)
      joined.set(this.tail)
      joined.set(chunk, this.tail.length)
      this.tail = joined.slice(-TAIL_SIZE)
    }
  }
}
