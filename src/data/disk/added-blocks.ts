import type { Digest } from '#data/store/store.ts'

/** More than are under way at once, an xz block or two in each worker among them. */
const REMEMBERED = 4096

/**
 * What a registration added to its store. A block that comes twice in a disk may be under way twice at once: nobody
 * has it yet when both are looked for, and it is stored once.
 */
export class AddedBlocks {
  readonly #lately = new Set<Digest>()
  /** Bytes at rest. */
  size = 0

  /** @param storedLength bytes at rest */
  add(digest: Digest, storedLength: number): void {
    if (this.#lately.has(digest)) return
    this.size += storedLength
    this.#lately.add(digest)
    const [oldest] = this.#lately
    if (oldest !== undefined && this.#lately.size > REMEMBERED) this.#lately.delete(oldest)
  }
}
