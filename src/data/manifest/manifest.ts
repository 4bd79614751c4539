import { hash } from 'node:crypto'
import type { RandomBytes } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import { BLOCK_SIZE, maxStoredSize } from '#data/block/block.ts'
import type { Digest, ManifestStore } from '#data/store/store.ts'
import {
  corrupt,
  DIGEST_SIZE,
  ENTRY_SIZE,
  HEADER_SIZE,
  type ManifestHeader,
  PAGE_BLOCKS,
  PAGE_SIZE,
  pageBlocks,
  pageCount,
  readHeader,
  readU64,
  rootSize,
  TABLE_ENTRY_SIZE,
  zeroStoredSize,
} from './layout.ts'
import { isAllZero, type ManifestEntry, ManifestPage } from './page.ts'

/** Pages kept, 18 KiB each. */
const CACHED_PAGES = 16
const MAX_STORED = maxStoredSize(BLOCK_SIZE)

/** A block, and where its bytes at rest lie among those of the whole disk. */
export interface PlacedBlock {
  readonly index: number
  readonly storedOffset: number
  readonly storedLength: number
}

/**
 * Opens a manifest and verifies its root against its name; pages are verified as they are read.
 * @throws not_found, corrupt
 */
export async function openManifest(
  manifests: ManifestStore,
  digest: Digest,
  options: { cachedPages?: number } = {},
): Promise<Manifest> {
  const file = await manifests.open(digest)
  try {
    const head = Buffer.alloc(HEADER_SIZE)
    await readExactly(file, head, 0)
    const header = readHeader(head)
    const root = Buffer.alloc(rootSize(header.blockCount))
    await readExactly(file, root, 0)
    if (hash('sha256', root, 'hex') !== digest) throw corrupt('its root is not what its name says')
    return new Manifest({ file, digest, header, root, cachedPages: options.cachedPages ?? CACHED_PAGES })
  } catch (error) {
    await file[Symbol.asyncDispose]()
    throw error
  }
}

async function readExactly(file: RandomBytes, target: Uint8Array, offset: number): Promise<void> {
  if ((await file.readAt(target, offset)) < target.length) throw corrupt('it ends early')
}

interface ManifestParts {
  readonly file: RandomBytes & AsyncDisposable
  readonly digest: Digest
  readonly header: ManifestHeader
  readonly root: Buffer
  readonly cachedPages: number
}

/** The blocks of one disk. Holds its root and a few pages in memory, whatever the disk's size. */
export class Manifest implements AsyncDisposable, ManifestHeader {
  readonly digest: Digest
  readonly diskSize: number
  readonly blockCount: number
  readonly dataBlocks: number
  readonly storedSize: number
  readonly pageCount: number
  readonly #file: RandomBytes & AsyncDisposable
  readonly #root: Buffer
  readonly #cachedPages: number
  /** Least recently used first. */
  readonly #pages = new Map<number, Promise<ManifestPage>>()
  /** For each page, how many pages with entries lie before it in the file. */
  readonly #filePlaces: Uint32Array

  constructor({ file, digest, header, root, cachedPages }: ManifestParts) {
    this.digest = digest
    this.diskSize = header.diskSize
    this.blockCount = header.blockCount
    this.dataBlocks = header.dataBlocks
    this.storedSize = header.storedSize
    this.pageCount = pageCount(header.blockCount)
    this.#file = file
    this.#root = root
    this.#cachedPages = cachedPages
    this.#filePlaces = new Uint32Array(this.pageCount)
    this.#verifyTable()
  }

  #verifyTable(): void {
    let places = 0
    for (let page = 0; page < this.pageCount; page++) {
      this.#filePlaces[page] = places
      const { dataBlocks, storedBytes } = this.#sumsOf(page)
      const count = pageBlocks(this.blockCount, page)
      const isPossible = this.isZeroPage(page)
        ? dataBlocks === 0 && storedBytes === zeroStoredSize(this.diskSize, page * PAGE_BLOCKS, count)
        : dataBlocks > 0 && dataBlocks <= count && storedBytes > 0 && storedBytes <= count * MAX_STORED
      if (!isPossible) throw corrupt(`the sums of page ${page} cannot be`)
      if (!this.isZeroPage(page)) places++
    }
    this.#verifySize(places)
    if (this.dataBefore(0) !== 0 || this.storedBefore(0) !== 0) throw corrupt('its sums do not begin at 0')
  }

  #verifySize(pages: number): void {
    const last = this.pageCount - 1
    const missing = pages > 0 && !this.isZeroPage(last) ? PAGE_BLOCKS - pageBlocks(this.blockCount, last) : 0
    const size = this.#root.length + pages * PAGE_SIZE - missing * ENTRY_SIZE
    if (this.#file.size !== undefined && this.#file.size !== size)
      throw corrupt(`it has ${this.#file.size} bytes instead of ${size}`)
  }

  #sumsOf(page: number): { dataBlocks: number; storedBytes: number } {
    return {
      dataBlocks: this.dataBefore(page + 1) - this.dataBefore(page),
      storedBytes: this.storedBefore(page + 1) - this.storedBefore(page),
    }
  }

  #tableOffset(page: number): number {
    assert(page >= 0 && page < this.pageCount, `page ${page} of ${this.pageCount}`)
    return HEADER_SIZE + page * TABLE_ENTRY_SIZE
  }

  #pageDigest(page: number): Buffer {
    const offset = this.#tableOffset(page)
    return this.#root.subarray(offset, offset + DIGEST_SIZE)
  }

  /** Data blocks before a page; for `pageCount`, all of them. */
  dataBefore(page: number): number {
    if (page === this.pageCount) return this.dataBlocks
    return readU64(this.#root, this.#tableOffset(page) + DIGEST_SIZE)
  }

  /** Bytes at rest before a page, zero blocks' too; for `pageCount`, all of them. */
  storedBefore(page: number): number {
    if (page === this.pageCount) return this.storedSize
    return readU64(this.#root, this.#tableOffset(page) + DIGEST_SIZE + 8)
  }

  isZeroPage(page: number): boolean {
    return isAllZero(this.#pageDigest(page))
  }

  /**
   * The entries of one page; a page of zero blocks is not read.
   * @throws corrupt
   */
  page(page: number): Promise<ManifestPage> {
    const known = this.#pages.get(page)
    const loading = known ?? this.#load(page)
    this.#pages.delete(page)
    this.#pages.set(page, loading)
    const [oldest] = this.#pages.keys()
    if (this.#pages.size > this.#cachedPages && oldest !== undefined) this.#pages.delete(oldest)
    // A read that failed may be tried again.
    if (!known) loading.catch(() => this.#pages.delete(page))
    return loading
  }

  async #load(page: number): Promise<ManifestPage> {
    if (this.isZeroPage(page)) return new ManifestPage(this, page, undefined)
    const bytes = Buffer.alloc(pageBlocks(this.blockCount, page) * ENTRY_SIZE)
    await readExactly(this.#file, bytes, this.#root.length + (this.#filePlaces[page] ?? 0) * PAGE_SIZE)
    if (!hash('sha256', bytes, 'buffer').equals(this.#pageDigest(page)))
      throw corrupt(`page ${page} is damaged`)
    const loaded = new ManifestPage(this, page, bytes)
    const sums = loaded.sums()
    const expected = this.#sumsOf(page)
    if (sums.dataBlocks !== expected.dataBlocks || sums.storedBytes !== expected.storedBytes)
      throw corrupt(`the entries of page ${page} do not add up to its sums`)
    return loaded
  }

  /**
   * The block's entry; undefined where it is a zero block.
   * @throws corrupt
   */
  async entry(index: number): Promise<ManifestEntry | undefined> {
    const page = await this.page(Math.floor(index / PAGE_BLOCKS))
    return page.entry(index)
  }

  /**
   * Every data block from `first` on, in order; pages of zero blocks cost nothing.
   * @throws corrupt
   */
  async *entries(first = 0): AsyncGenerator<ManifestEntry & { readonly index: number }> {
    for (let number = Math.floor(first / PAGE_BLOCKS); number < this.pageCount; number++) {
      if (this.isZeroPage(number)) continue
      const page = await this.page(number)
      for (let index = Math.max(first, page.first); index < page.first + page.count; index++) {
        const entry = page.entry(index)
        if (entry) yield { index, ...entry }
      }
    }
  }

  /** The block whose bytes at rest hold byte `offset` of those of the whole disk. */
  async findStored(offset: number): Promise<PlacedBlock> {
    assert(offset >= 0 && offset < this.storedSize, `byte ${offset} of ${this.storedSize} at rest`)
    const number = this.#lastPage((page) => this.storedBefore(page) <= offset)
    const page = await this.page(number)
    let index = page.first
    let storedOffset = this.storedBefore(number)
    while (storedOffset + page.storedLength(index) <= offset) storedOffset += page.storedLength(index++)
    return { index, storedOffset, storedLength: page.storedLength(index) }
  }

  /** The data block that has `rank` data blocks before it. */
  async findData(rank: number): Promise<ManifestEntry & { readonly index: number }> {
    assert(rank >= 0 && rank < this.dataBlocks, `data block ${rank} of ${this.dataBlocks}`)
    const number = this.#lastPage((page) => this.dataBefore(page) <= rank)
    const page = await this.page(number)
    let left = rank - this.dataBefore(number)
    for (let index = page.first; ; index++) {
      const entry = page.entry(index)
      if (entry && left-- === 0) return { index, ...entry }
    }
  }

  /** The last page for which `holds`, which holds for the first ones and then for no more. */
  #lastPage(holds: (page: number) => boolean): number {
    let low = 0
    let high = this.pageCount - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (holds(middle)) low = middle
      else high = middle - 1
    }
    return low
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]()
  }
}
