import { orAbort } from '#base/or-abort.ts'
import { BLOCK_SIZE, blockLength } from '#data/block/block.ts'
import type { NamedBlock } from '#data/form/disk-blocks.ts'
import { PAGE_BLOCKS } from '#data/manifest/layout.ts'
import { type Manifest, openManifest } from '#data/manifest/manifest.ts'
import type { ManifestPage } from '#data/manifest/page.ts'
import type { Digest, ManifestStore } from '#data/store/store.ts'
import type { BlockCache } from './block-cache.ts'
import { patiently } from './patience.ts'

/**
 * A disk that is offered over NBD, read-only. Readers come at the same time from several connections; all wait for the
 * signal, and give `corrupt`, `not_found` and `unavailable` as the store does.
 */
export interface ExportedDisk extends AsyncDisposable {
  /** Bytes. */
  readonly size: number
  /** Parts of the range in order, each of at most 1 MiB, valid until the next one is asked for. */
  read(offset: number, length: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** The range in order, cut where data and zeros meet; at most `most` parts, which may not reach the range's end. */
  status(offset: number, length: number, most: number, signal: AbortSignal): Promise<readonly DiskPart[]>
}

export interface DiskPart {
  readonly length: number
  readonly isZero: boolean
}

export interface ExportedDiskDeps {
  readonly manifests: ManifestStore
  readonly cache: BlockCache
  /** What passes is tried again for so many milliseconds. */
  readonly patienceMs: number
}

/** Blocks that are loaded before they are asked for, where a disk is read in order. */
const AHEAD = 3
const ZEROS = new Uint8Array(BLOCK_SIZE)

/**
 * Opens the disk that a manifest describes. Whoever does sees to it that collection knows of the manifest while the
 * disk is open.
 * @throws not_found, corrupt, unavailable
 */
export async function openExportedDisk(deps: ExportedDiskDeps, digest: Digest): Promise<ExportedDisk> {
  return new StoredDisk(deps, await openManifest(deps.manifests, digest))
}

class StoredDisk implements ExportedDisk {
  readonly #deps: ExportedDiskDeps
  readonly #manifest: Manifest
  readonly #visit: Disposable
  /** Where the last read ended. */
  #end = 0
  /** The last block that was loaded ahead. */
  #ahead = -1
  /** The page that was looked at last. */
  #near: { readonly number: number; readonly page: ManifestPage } | undefined

  constructor(deps: ExportedDiskDeps, manifest: Manifest) {
    this.#deps = deps
    this.#manifest = manifest
    this.#visit = deps.cache.join()
  }

  get size(): number {
    return this.#manifest.diskSize
  }

  async *read(offset: number, length: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const end = offset + length
    // Requests come in the order in which their sender made them, also where several are under way.
    const isInOrder = offset === this.#end
    this.#end = end
    const last = Math.floor((end - 1) / BLOCK_SIZE)
    if (!isInOrder) this.#ahead = -1
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / BLOCK_SIZE)
      const start = index * BLOCK_SIZE
      const stop = Math.min(end, start + BLOCK_SIZE)
      const block = await this.#block(index, signal)
      if (!block) yield ZEROS.subarray(0, stop - at)
      else {
        const taking = this.#deps.cache.take(block, signal)
        this.#bring(index + 1, isInOrder ? index + AHEAD : Math.min(index + AHEAD, last))
        using lent = await taking
        yield lent.bytes.subarray(at - start, stop - start)
      }
      at = stop
    }
  }

  /** Has blocks loaded for whoever reads them next; whether that succeeds is his to find out. */
  #bring(first: number, last: number): void {
    const { signal } = this.#deps.cache
    const bring = async (index: number) => {
      const block = await this.#block(index, signal)
      if (block) this.#deps.cache.bring(block)
    }
    const stop = Math.min(last, this.#manifest.blockCount - 1)
    for (let index = Math.max(first, this.#ahead + 1); index <= stop; index++) {
      this.#ahead = index
      bring(index).catch(() => {})
    }
  }

  /** Undefined where the block is all zeros. */
  async #block(index: number, signal: AbortSignal): Promise<NamedBlock | undefined> {
    const page = await this.#page(Math.floor(index / PAGE_BLOCKS), signal)
    const entry = page.entry(index)
    return entry && { ...entry, length: blockLength(this.size, index) }
  }

  async #page(number: number, signal: AbortSignal): Promise<ManifestPage> {
    if (this.#near?.number === number) return this.#near.page
    const load = () => orAbort(this.#manifest.page(number), signal)
    const page = await patiently(load, this.#deps.patienceMs, signal)
    this.#near = { number, page }
    return page
  }

  async status(offset: number, length: number, most: number, signal: AbortSignal): Promise<DiskPart[]> {
    const end = offset + length
    const parts: { length: number; isZero: boolean }[] = []
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / BLOCK_SIZE)
      const number = Math.floor(index / PAGE_BLOCKS)
      const isZeroPage = this.#manifest.isZeroPage(number)
      const isZero = isZeroPage || !(await this.#page(number, signal)).entry(index)
      const next = isZeroPage ? (number + 1) * PAGE_BLOCKS : index + 1
      const stop = Math.min(end, next * BLOCK_SIZE)
      const before = parts.at(-1)
      if (before?.isZero === isZero) before.length += stop - at
      else if (parts.length < most) parts.push({ length: stop - at, isZero })
      else break
      at = stop
    }
    return parts
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#visit[Symbol.dispose]()
    await this.#manifest[Symbol.asyncDispose]()
  }
}
