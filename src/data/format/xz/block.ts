import { setImmediate } from 'node:timers/promises'
import { ByteFeed } from '#base/byte-feed.ts'
import { MiB } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import { borrowLzma2, type Lzma2 } from '#data/codec/lzma.ts'
import type { DecodeOptions } from '../decode-options.ts'
import { streamRefusals } from '../stream-refusals.ts'
import { createBlockCheck } from './block-check.ts'
import { peekBlockHeader } from './block-header.ts'
import { type BlockOptions, BlockReader, type Chunk } from './block-reader.ts'
import { checkSizeOf } from './stream-ends.ts'
import type { BlockSizes } from './stream-index.ts'

const refuse = streamRefusals('xz')

/** So much is decoded before others of this thread have their turn, in plain bytes: some 10 ms. */
const TURN = 1 * MiB

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
 * Decodes a block that `splitXz` cut out, on this thread; every check is made. Chunks are 2 MiB at most.
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
    yield* decodeBlock(feed, check, { header, checkSize, limit: uncompressedSize, decodedBefore: 0, signal })
  } finally {
    await feed.close()
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes
}

/**
 * Decodes the block at hand, chunk by chunk as they arrive; every check is made. Chunks are 2 MiB at most.
 * @throws Refusal: truncated, bad-stream, checksum, size-mismatch, too-large; or the signal's reason
 */
export async function* decodeBlock(
  feed: ByteFeed,
  check: number,
  options: BlockOptions,
): AsyncGenerator<Uint8Array, BlockSizes, void> {
  const reader = new BlockReader(feed, options)
  const decoder = borrowLzma2(options.header.dictionary)
  try {
    const expected = createBlockCheck(check, decoder)
    reader.takeHeader()
    let turn = 0
    for (;;) {
      const chunk = await reader.nextChunk()
      if (chunk === undefined) break
      const output = await decodeChunk(decoder, chunk, reader)
      if (output === undefined) throw refuse.damaged(feed.offset, 'this is no LZMA2 data')
      expected.update(output)
      yield output
      turn += output.length
      if (turn < TURN) continue
      turn = 0
      await setImmediate()
      options.signal?.throwIfAborted()
    }
    const end = await reader.takeEnd()
    if (!expected.matches(end.check)) throw refuse.checksum(feed.offset - end.check.length, 'block')
    return end.sizes
  } finally {
    decoder.release()
  }
}

/** Returns undefined where the chunk is damaged. */
async function decodeChunk(
  decoder: Lzma2,
  { length, packedLength, stored, resetsDictionary, newState }: Chunk,
  reader: BlockReader,
): Promise<Uint8Array | undefined> {
  if (resetsDictionary) decoder.resetDictionary()
  if (stored) {
    const output = decoder.append(length)
    await reader.takeBody(output)
    return output
  }
  if (newState !== undefined) decoder.resetState(newState)
  await reader.takeBody(decoder.input(packedLength))
  return decoder.decode(packedLength, length)
}

/**
 * Takes the block at hand whole, without decoding it.
 * @param size its length as its header claims; what differs from that is refused
 * @throws Refusal: truncated, bad-stream, size-mismatch, too-large
 */
export async function collectBlock(
  feed: ByteFeed,
  size: number,
  options: BlockOptions,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; sizes: BlockSizes }> {
  const reader = new BlockReader(feed, options)
  const bytes = new Uint8Array(size)
  let filled = 0
  const add = (part: Uint8Array) => {
    bytes.set(part, filled)
    filled += part.length
  }
  add(reader.takeHeader())
  for (let chunk = await reader.nextChunk(); chunk; chunk = await reader.nextChunk()) {
    add(chunk.header)
    await reader.takeBody(bytes.subarray(filled, filled + chunk.packedLength))
    filled += chunk.packedLength
  }
  // The last chunk's header is one zero, as is the padding.
  filled += 1
  const { padding, check, sizes } = await reader.takeEnd()
  add(padding)
  add(check)
  return { bytes, sizes }
}
