import { BLOCK_SIZE } from '#data/block/block.ts'
import type { BlockPool } from '#data/pool/block-pool.ts'
import type { RunningMd5 } from '#data/pool/running-md5.ts'

/** The MD5 of a disk's first whole blocks, however far they were stored in order and not changed since. */
export class OrderedSum implements Disposable {
  readonly #pool: BlockPool
  readonly #isEager: boolean
  #md5: RunningMd5
  #next = 0

  /** @param isEager whether blocks are added to it while they are stored; else it is made at the end */
  constructor(pool: BlockPool, isEager: boolean) {
    this.#pool = pool
    this.#isEager = isEager
    this.#md5 = pool.startMd5()
  }

  /** The first block that is not in it. */
  get next(): number {
    return this.#next
  }

  /** What a block is to be added to while it is stored; undefined where it is not its turn, or not whole. */
  follow(index: number, length: number): RunningMd5 | undefined {
    return this.#isEager ? this.#take(index, length) : undefined
  }

  #take(index: number, length: number): RunningMd5 | undefined {
    if (index !== this.#next || length < BLOCK_SIZE) return undefined
    this.#next++
    return this.#md5
  }

  /** Says that the disk is another one from this block on. */
  changed(index: number): void {
    if (index >= this.#next) return
    this.#md5[Symbol.dispose]()
    this.#md5 = this.#pool.startMd5()
    this.#next = 0
  }

  /**
   * The MD5 of the whole disk, 32 hex digits.
   * @param rest its bytes from block `next` on, in chunks that are whole blocks but for the last
   */
  async finish(rest: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string> {
    using room = this.#pool.room()
    for await (const chunk of rest) {
      const { length } = chunk
      room.bytes.set(chunk)
      const md5 = this.#take(this.#next, length)
      if (md5) await this.#pool.sum({ room, length }, md5, signal)
      else {
        // More may be written behind what is now the end.
        using whole = this.#md5.fork()
        await this.#pool.sum({ room, length }, whole, signal)
        return await whole.digest()
      }
    }
    return await this.#md5.digest()
  }

  [Symbol.dispose](): void {
    this.#md5[Symbol.dispose]()
  }
}
