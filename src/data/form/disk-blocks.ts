import { LibraryError } from '#base/errors.ts'
import {
  BLOCK_SIZE,
  blockLength,
  decodeStored,
  digestOf,
  storedZeroBlock,
  verifyStored,
} from '#data/block/block.ts'
import { PAGE_BLOCKS } from '#data/manifest/layout.ts'
import type { Manifest } from '#data/manifest/manifest.ts'
import type { BlockStore, Digest } from '#data/store/store.ts'
import type { Loaded } from './pieces.ts'

/** One block of a disk, as its manifest names it. */
export interface DiskBlock {
  readonly index: number
  /** Plain bytes. */
  readonly length: number
  /** Undefined where the block is all zeros. */
  readonly digest: string | undefined
  /** Bytes at rest; of a zero block those of its constant encoding. */
  readonly storedLength: number
}

/** Handed out wherever a disk has zeros; nobody may write to it. */
const ZEROS = new Uint8Array(BLOCK_SIZE)

/** The blocks of a disk from `first` on, read from one manifest page at a time. */
export async function* blocksFrom(manifest: Manifest, first: number): AsyncGenerator<DiskBlock> {
  for (let number = Math.floor(first / PAGE_BLOCKS); number < manifest.pageCount; number++) {
    const page = await manifest.page(number)
    for (let index = Math.max(first, page.first); index < page.first + page.count; index++) {
      const length = blockLength(manifest.diskSize, index)
      yield { index, length, digest: page.entry(index)?.digest, storedLength: page.storedLength(index) }
    }
  }
}

/** A block that is not all zeros. */
export interface NamedBlock {
  readonly digest: Digest
  /** Plain bytes. */
  readonly length: number
  /** Bytes at rest. */
  readonly storedLength: number
}

/** Where blocks are fetched, decoded and verified. */
export interface BlockLoader {
  /**
   * The plain bytes, which are exactly those that the digest names.
   * @throws not_found, corrupt, unavailable, or the signal's reason
   */
  plain(block: NamedBlock, signal: AbortSignal): Promise<Loaded>
  /** The block at rest, its lengths, XXH32 and digest verified. */
  stored(block: NamedBlock, signal: AbortSignal): Promise<Loaded>
}

/** Loads blocks in the thread that asks. */
export function directLoader(blocks: BlockStore): BlockLoader {
  const fetch = async ({ digest, storedLength }: NamedBlock) => {
    const stored = await blocks.get(digest)
    if (stored.length === storedLength) return stored
    throw new LibraryError('corrupt', `${stored.length} bytes are stored instead of ${storedLength}`)
  }
  const decode = ({ digest, length }: NamedBlock, stored: Uint8Array) => {
    const plain = decodeStored(stored, length)
    if (digestOf(plain) === digest) return plain
    throw new LibraryError('corrupt', 'its bytes have another digest')
  }
  return {
    plain: async (block) => decode(block, await fetch(block)),
    async stored(block) {
      const stored = await fetch(block)
      verifyStored(stored, block.length)
      decode(block, stored)
      return stored
    },
  }
}

/**
 * Loads a block as it stands in an LZ4 frame.
 * @throws corrupt, also where the block is missing: a manifest names it
 */
export async function loadStored(
  loader: BlockLoader,
  block: DiskBlock,
  signal: AbortSignal,
): Promise<Loaded> {
  const { digest } = block
  if (digest === undefined) return storedZeroBlock(block.length)
  return naming(digest, () => loader.stored({ ...block, digest }, signal))
}

/**
 * Loads a block's plain bytes, which are exactly those that its digest names.
 * @throws corrupt, also where the block is missing: a manifest names it
 */
export async function loadPlain(loader: BlockLoader, block: DiskBlock, signal: AbortSignal): Promise<Loaded> {
  const { digest, length } = block
  if (digest === undefined) return ZEROS.subarray(0, length)
  return naming(digest, () => loader.plain({ ...block, digest }, signal))
}

/** Says which block a fault was met at, and what to do about it; the store's own sentences do not always. */
async function naming<T>(digest: Digest, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (cause) {
    if (!(cause instanceof LibraryError) || (cause.code !== 'corrupt' && cause.code !== 'not_found'))
      throw cause
    throw new LibraryError('corrupt', `read block ${digest}: ${cause.message}`, {
      cause,
      hint: 'The stored bytes are damaged: image-library check says which images are hurt, and how to mend them.',
    })
  }
}
