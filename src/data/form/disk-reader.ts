import { BLOCK_SIZE } from '#data/block/block.ts'
import { type Manifest, openManifest } from '#data/manifest/manifest.ts'
import type { Digest, Store } from '#data/store/store.ts'
import { type BlockLoader, blocksFrom, type DiskBlock, directLoader, loadPlain } from './disk-blocks.ts'
import { type Layout, type Loaded, readPieces } from './pieces.ts'

/** Decoded blocks that `read` keeps, 1 MiB each: small reads in order, or of a file system's tables, decode once. */
const CACHED_BLOCKS = 4

/** A disk's bytes at any offset. Every block is verified as it is read: wrong bytes never come out. */
export interface DiskReader extends AsyncDisposable {
  /** Bytes of the disk. */
  readonly size: number
  /**
   * Reads a range that fits memory; meant for many small ones.
   * @returns exactly `length` bytes, which nobody may write to: those of zero blocks and of kept ones are shared
   * @throws corrupt, not_found, unavailable, or the signal's reason
   */
  read(offset: number, length: number, signal: AbortSignal): Promise<Uint8Array>
  /** Reads any range in parts of at most 1 MiB, which nobody may write to, while the next one is loading. */
  stream(offset: number, length: number, signal: AbortSignal): AsyncGenerator<Uint8Array>
}

/**
 * Opens the disk that a manifest describes. Whoever does sees to it that collection knows of the manifest while the
 * disk is open.
 * @throws not_found, corrupt
 */
export async function openDisk(store: Store, digest: Digest): Promise<DiskReader> {
  const manifest = await openManifest(store.manifests, digest)
  const loader = directLoader(store.blocks)
  const direct = rawLayout(manifest, loader)
  // Others may wait for the same block, so no one signal ends its loading.
  const { signal: never } = new AbortController()
  const cached = layBlocks(
    manifest,
    keepLoaded((block) => loadPlain(loader, block, never)),
  )
  return {
    size: manifest.diskSize,
    async read(offset, length, signal) {
      const parts = await Array.fromAsync(readPieces(cached, offset, length, signal))
      return parts[0]?.length === length ? parts[0] : Buffer.concat(parts)
    },
    stream: (offset, length, signal) => readPieces(direct, offset, length, signal),
    [Symbol.asyncDispose]: () => manifest[Symbol.asyncDispose](),
  }
}

/** The disk as it is, in pieces of one block. */
export function rawLayout(manifest: Manifest, loader: BlockLoader): Layout {
  return layBlocks(manifest, (block, signal) => loadPlain(loader, block, signal))
}

function layBlocks(
  manifest: Manifest,
  load: (block: DiskBlock, signal: AbortSignal) => Promise<Loaded>,
): Layout {
  return {
    size: manifest.diskSize,
    async *pieces(from) {
      for await (const block of blocksFrom(manifest, Math.floor(from / BLOCK_SIZE))) {
        const { index, length } = block
        yield { offset: index * BLOCK_SIZE, length, load: (signal) => load(block, signal) }
      }
    },
  }
}

/** Remembers the blocks that were used last; two readers of one block wait for the same load. */
function keepLoaded(load: (block: DiskBlock) => Promise<Loaded>): typeof load {
  const kept = new Map<number, Promise<Loaded>>()
  return (block) => {
    const { index } = block
    const known = kept.get(index)
    const loading = known ?? load(block)
    kept.delete(index)
    kept.set(index, loading)
    const [oldest] = kept.keys()
    if (kept.size > CACHED_BLOCKS && oldest !== undefined) kept.delete(oldest)
    // A load that failed for a while may be tried again.
    if (!known) loading.catch(() => kept.get(index) === loading && kept.delete(index))
    return loading
  }
}
