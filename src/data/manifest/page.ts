import { assert } from '#base/errors.ts'
import { BLOCK_SIZE, blockLength, FRAMING_SIZE, maxStoredSize, storedZeroBlock } from '#data/block/block.ts'
import type { Digest } from '#data/store/store.ts'
import { corrupt, DIGEST_SIZE, ENTRY_SIZE, PAGE_BLOCKS, pageBlocks, readU32, writeU32 } from './layout.ts'

/** A data block: its name, and its bytes at rest. */
export interface ManifestEntry {
  readonly digest: Digest
  readonly storedLength: number
}

/** The entries of up to PAGE_BLOCKS blocks; indexes count from the start of the disk. */
export class ManifestPage {
  /** Index of its first block. */
  readonly first: number
  readonly count: number
  readonly #diskSize: number
  readonly #bytes: Buffer | undefined

  /** @param bytes what stands in the manifest; undefined for a page of zero blocks */
  constructor(disk: { diskSize: number; blockCount: number }, page: number, bytes: Buffer | undefined) {
    this.first = page * PAGE_BLOCKS
    this.count = pageBlocks(disk.blockCount, page)
    this.#diskSize = disk.diskSize
    this.#bytes = bytes
    assert(!bytes || bytes.length === this.count * ENTRY_SIZE, 'a page has its own size')
  }

  /** Undefined where the page has none but zero blocks. */
  #entryBytes(index: number): Buffer | undefined {
    const place = index - this.first
    assert(place >= 0 && place < this.count, `block ${index} is not on the page from ${this.first} on`)
    return this.#bytes?.subarray(place * ENTRY_SIZE, (place + 1) * ENTRY_SIZE)
  }

  /** The block's entry; undefined where it is a zero block. */
  entry(index: number): ManifestEntry | undefined {
    const bytes = this.#entryBytes(index)
    const storedLength = bytes ? readU32(bytes, DIGEST_SIZE) : 0
    return bytes && storedLength > 0
      ? { digest: bytes.toString('hex', 0, DIGEST_SIZE), storedLength }
      : undefined
  }

  /** Bytes at rest of the block; of a zero block those of its constant encoding. */
  storedLength(index: number): number {
    const bytes = this.#entryBytes(index)
    const storedLength = bytes ? readU32(bytes, DIGEST_SIZE) : 0
    return storedLength || storedZeroBlock(blockLength(this.#diskSize, index)).length
  }

  /**
   * Counts the page's data blocks and all its bytes at rest.
   * @throws corrupt where an entry cannot be
   */
  sums(): { dataBlocks: number; storedBytes: number } {
    let dataBlocks = 0
    let storedBytes = 0
    for (let index = this.first; index < this.first + this.count; index++) {
      const bytes = this.#entryBytes(index)
      if (bytes && !isAllZero(bytes)) {
        const length = readU32(bytes, DIGEST_SIZE)
        const isSized = length > FRAMING_SIZE && length <= maxStoredSize(blockLength(this.#diskSize, index))
        if (!isSized || isAllZero(bytes.subarray(0, DIGEST_SIZE)))
          throw corrupt(`the entry of block ${index} cannot be`)
        dataBlocks++
      }
      storedBytes += this.storedLength(index)
    }
    return { dataBlocks, storedBytes }
  }
}

const ZEROS = Buffer.alloc(ENTRY_SIZE)

/** Says so of up to ENTRY_SIZE bytes. */
export function isAllZero(bytes: Uint8Array): boolean {
  return ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0
}

/** Writes a data block's entry into the bytes of a page. */
export function writeEntry(page: Buffer, place: number, { digest, storedLength }: ManifestEntry): void {
  const offset = place * ENTRY_SIZE
  const written = page.write(digest, offset, DIGEST_SIZE, 'hex')
  assert(written === DIGEST_SIZE && digest.length === 2 * DIGEST_SIZE, 'a digest has 64 hex digits')
  assert(
    storedLength > FRAMING_SIZE && storedLength <= maxStoredSize(BLOCK_SIZE),
    `${storedLength} bytes at rest`,
  )
  writeU32(page, offset + DIGEST_SIZE, storedLength)
}
