import { hash } from 'node:crypto'
import { ByteFeed } from '#base/byte-feed.ts'
import { assert } from '#base/errors.ts'
import type { DecodeOptions } from '../decode-options.ts'
import { decodeSpans, SMALL_OUTPUT } from '../engine.ts'
import { streamRefusals } from '../stream-refusals.ts'
import { peekBlockHeader } from './block-header.ts'
import { type WalkOptions, walkBlock } from './block-walk.ts'
import { decodeLzmaAtOnce, LzmaFault, openLzmaEngine } from './lzma-engine.ts'
import { checkSizeOf, writeStreamFooter, writeStreamHeader } from './stream-ends.ts'
import { type BlockSizes, writeIndex } from './stream-index.ts'

const refuse = streamRefusals('xz')

/** A whole block, which can be decoded by itself, on any thread. */
export interface XzBlock {
  /** All of it: header, data, padding and check. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** The kind of check, by its number in the stream header. */
  readonly check: number
  /** Plain bytes; what its chunks add up to, not only what it claims. */
  readonly uncompressedSize: number
}

/**
 * Decodes a block that `splitXz` cut out; every check is made. Chunks are 64 KiB at most.
 * @throws Refusal: bad-stream, checksum; or the signal's reason
 */
export async function* decodeXzBlock(
  { bytes, check, uncompressedSize }: XzBlock,
  { xzDictionary, signal }: Pick<DecodeOptions, 'xzDictionary' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  const feed = new ByteFeed(once(bytes), signal)
  try {
    await feed.fill(1)
    const header = await peekBlockHeader(feed, xzDictionary)
    const checkSize = checkSizeOf(check)
    assert(checkSize !== undefined, `xz check ${check}`)
    yield* decodeBlock(feed, check, { header, checkSize, limit: uncompressedSize, decodedBefore: 0 })
  } finally {
    await feed.close()
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes
}

/**
 * Decodes the block at hand as a stream of its own, so that the decoder makes every check and a file of many blocks
 * costs it nothing to remember.
 * @throws Refusal
 */
export async function* decodeBlock(
  feed: ByteFeed,
  check: number,
  options: WalkOptions,
): AsyncGenerator<Uint8Array, BlockSizes, void> {
  let sizes: BlockSizes | undefined
  const { header } = options
  async function* spans(): AsyncGenerator<Uint8Array, BlockSizes, void> {
    yield writeStreamHeader(check)
    sizes = yield* walkBlock(feed, options)
    const index = writeIndex(sizes)
    yield index
    yield writeStreamFooter(check, index.length)
    return sizes
  }
  try {
    return yield* decodeSpans(spans(), {
      small(bytes) {
        if (sizes === undefined || sizes.uncompressedSize > SMALL_OUTPUT) return undefined
        if (sizes.uncompressedSize > 0) return decodeLzmaAtOnce(bytes)
        const checkStart = writeStreamHeader(check).length + header.size + 4
        checkNothing(check, bytes.subarray(checkStart, checkStart + options.checkSize))
        return bytes.subarray(0, 0)
      },
      open: openLzmaEngine,
    })
  } catch (error) {
    if (!(error instanceof LzmaFault)) throw error
    throw error.isChecksum
      ? refuse.checksum(feed.offset, 'block', error)
      : refuse.damaged(feed.offset, 'this is no LZMA2 data', error)
  }
}

/** Compares the check of a block that holds nothing: files of thousands of such are not worth a decoder each. */
function checkNothing(check: number, bytes: Uint8Array): void {
  const expected = check === 10 ? hash('sha256', '', 'hex') : '00'.repeat(bytes.length)
  if (Buffer.from(bytes).toString('hex') !== expected) throw new LzmaFault('wrong checksum of an empty block')
}
