import { hash } from 'node:crypto'
import { assert } from '#base/errors.ts'
import { BLOCK_SIZE, blockCount } from '#data/block/block.ts'
import { isDamage, readTwice } from '#data/store/storage-errors.ts'
import type { Digest, ManifestStore } from '#data/store/store.ts'
import {
  DIGEST_SIZE,
  ENTRY_SIZE,
  HEADER_SIZE,
  MAX_DISK_SIZE,
  type ManifestHeader,
  PAGE_BLOCKS,
  PAGE_SIZE,
  pageBlocks,
  pageCount,
  rootSize,
  TABLE_ENTRY_SIZE,
  writeHeader,
  writeU64,
  zeroStoredSize,
} from './layout.ts'
import { openManifest } from './manifest.ts'
import { ManifestPage, writeEntry } from './page.ts'
import { openSpill, type Spill } from './spill.ts'

/** Pages held in memory, 18 KiB each: 1.2 MiB, which is the whole manifest of a disk up to 32 GiB. */
const HELD_PAGES = 64

export interface ManifestWriterOptions {
  /** Where pages wait that do not fit in memory. */
  readonly directory: string
  readonly heldPages?: number
}

/** A manifest that was put, and what its header says. */
export interface PutManifest extends ManifestHeader {
  readonly digest: Digest
}

/** Gathers the entries of one disk, in any order, in flat memory. Blocks that are never set are zero blocks. */
export class ManifestWriter implements AsyncDisposable {
  readonly #directory: string
  readonly #heldPages: number
  /** Least recently set first. */
  readonly #held = new Map<number, Buffer>()
  readonly #spilled = new Set<number>()
  #spill: Spill | undefined
  #highest = -1

  constructor(options: ManifestWriterOptions) {
    this.#directory = options.directory
    this.#heldPages = options.heldPages ?? HELD_PAGES
  }

  /**
   * Remembers a data block; a later call for the same index wins.
   * @throws unavailable where pages that do not fit in memory cannot be kept on disk
   */
  async set(index: number, digest: Digest, storedLength: number): Promise<void> {
    assert(index >= 0 && index < MAX_DISK_SIZE / BLOCK_SIZE, `block ${index} of a disk`)
    this.#highest = Math.max(this.#highest, index)
    const number = Math.floor(index / PAGE_BLOCKS)
    const page = this.#held.get(number) ?? this.#load(number)
    writeEntry(page, index % PAGE_BLOCKS, { digest, storedLength })
    this.#held.delete(number)
    const [oldest] = this.#held.keys()
    if (oldest !== undefined && this.#held.size >= this.#heldPages) this.#evict(oldest)
    this.#held.set(number, page)
  }

  #evict(number: number): void {
    const page = this.#held.get(number)
    assert(page, 'a page that is evicted is held')
    this.#spill ??= openSpill(this.#directory, PAGE_SIZE)
    this.#spill.write(page, number)
    this.#spilled.add(number)
    this.#held.delete(number)
  }

  #load(number: number): Buffer {
    const page = Buffer.alloc(PAGE_SIZE)
    if (this.#spilled.has(number)) this.#spill?.read(page, number)
    return page
  }

  /** What stands in the manifest for a page; undefined where that is nothing. */
  #bytesOf(number: number, blocks: number): Buffer | undefined {
    if (!this.#held.has(number) && !this.#spilled.has(number)) return undefined
    const page = this.#held.get(number) ?? this.#load(number)
    return page.subarray(0, pageBlocks(blocks, number) * ENTRY_SIZE)
  }

  /**
   * Puts the manifest into the store. It is on stable storage, like its blocks, after the store's `sync`.
   * @param diskSize bytes, at most MAX_DISK_SIZE
   */
  async finish(manifests: ManifestStore, diskSize: number): Promise<PutManifest> {
    assert(diskSize >= 0 && diskSize <= MAX_DISK_SIZE, `a disk of ${diskSize} bytes`)
    const blocks = blockCount(diskSize)
    assert(this.#highest < blocks, `block ${this.#highest} lies past the end of the disk`)
    const { root, header } = this.#makeRoot(diskSize, blocks)
    const digest = hash('sha256', root, 'hex')
    await manifests.put(digest, this.#parts(root, blocks))
    if (!(await isSound(manifests, digest))) await manifests.mend(digest, this.#parts(root, blocks))
    return { digest, ...header }
  }

  #makeRoot(diskSize: number, blocks: number): { root: Buffer; header: ManifestHeader } {
    const root = Buffer.alloc(rootSize(blocks))
    let dataBlocks = 0
    let storedSize = 0
    for (let number = 0; number < pageCount(blocks); number++) {
      const offset = HEADER_SIZE + number * TABLE_ENTRY_SIZE
      writeU64(root, offset + DIGEST_SIZE, dataBlocks)
      writeU64(root, offset + DIGEST_SIZE + 8, storedSize)
      const bytes = this.#bytesOf(number, blocks)
      if (!bytes) {
        storedSize += zeroStoredSize(diskSize, number * PAGE_BLOCKS, pageBlocks(blocks, number))
        continue
      }
      root.set(hash('sha256', bytes, 'buffer'), offset)
      const sums = new ManifestPage({ diskSize, blockCount: blocks }, number, bytes).sums()
      dataBlocks += sums.dataBlocks
      storedSize += sums.storedBytes
    }
    const header = { diskSize, blockCount: blocks, dataBlocks, storedSize }
    writeHeader(root, header)
    return { root, header }
  }

  *#parts(root: Buffer, blocks: number): Generator<Uint8Array> {
    yield root
    for (let number = 0; number < pageCount(blocks); number++) {
      const bytes = this.#bytesOf(number, blocks)
      if (bytes) yield bytes
    }
  }

  /** Forgets everything; what `finish` put stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#spill?.[Symbol.dispose]()
    this.#spill = undefined
  }
}

/** One of this name may have been there before, and be damaged. */
async function isSound(manifests: ManifestStore, digest: Digest): Promise<boolean> {
  const read = async () => {
    await using manifest = await openManifest(manifests, digest)
    for await (const _ of manifest.entries());
  }
  try {
    await readTwice(read)
    return true
  } catch (error) {
    if (isDamage(error)) return false
    throw error
  }
}
