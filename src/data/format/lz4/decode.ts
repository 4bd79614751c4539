import { ByteFeed } from '#base/byte-feed.ts'
import { type ByteStream, KiB, MiB } from '#base/bytes.ts'
import { type Codec, createCodecMemory, FIRST_ADDRESS, openCodec } from '#data/codec/codec.ts'
import { boundOutput, type DecodeOptions } from '../decode-options.ts'
import { isSkippableMagic, peekMagic, readLe32, skipFrame } from '../frames.ts'
import { streamRefusals } from '../stream-refusals.ts'
import { readFrameHeader } from './frame-header.ts'

const refuse = streamRefusals('lz4')

const FRAME_MAGIC = 0x184d2204
const LEGACY_MAGIC = 0x184c2102
const MAGICS = [FRAME_MAGIC, LEGACY_MAGIC]

/** How far a match reaches back. */
const HISTORY = 64 * KiB
const LEGACY_BLOCK = 8 * MiB
/** What 8 MiB that do not compress take. */
const MAX_LEGACY_STORED = LEGACY_BLOCK + Math.floor(LEGACY_BLOCK / 255) + 16

/** The decoder's own memory: checksum state, one stored block, decoded blocks one behind the other. */
const STATE = FIRST_ADDRESS
const INPUT = 4 * KiB
const OUTPUT = INPUT + Math.ceil(MAX_LEGACY_STORED / KiB) * KiB
const OUTPUT_END = OUTPUT + HISTORY + LEGACY_BLOCK

/**
 * Decodes an lz4 file: frames, legacy frames and skippable frames in any order. Chunks are one block each, views
 * into memory that is written again: valid until the next one is asked for. Uses 17 MiB.
 * @throws Refusal: truncated, bad-stream, unsupported-stream, checksum, size-mismatch, trailing-garbage, too-large,
 * empty; or the signal's reason
 * @see LZ4 frame format 1.6.4
 */
export async function* decodeLz4(
  input: ByteStream,
  options: Pick<DecodeOptions, 'limit' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  const feed = new ByteFeed(input, options.signal)
  try {
    yield* boundOutput(decodeFrames(feed, options.limit), options)
  } finally {
    await feed.close()
  }
}

async function* decodeFrames(feed: ByteFeed, limit: number): AsyncGenerator<Uint8Array, void, void> {
  const codec = openCodec(createCodecMemory(OUTPUT_END))
  for (;;) {
    const magic = await peekMagic(feed, MAGICS, refuse)
    if (magic === undefined) return
    if (magic === FRAME_MAGIC) yield* decodeFrame(feed, codec, limit)
    else if (magic === LEGACY_MAGIC) yield* decodeLegacyFrame(feed, codec)
    else await skipFrame(feed, refuse)
  }
}

async function* decodeFrame(
  feed: ByteFeed,
  codec: Codec,
  limit: number,
): AsyncGenerator<Uint8Array, void, void> {
  const header = await readFrameHeader(feed, codec, STATE, limit)
  const { maxBlockSize, independent, contentSize } = header
  if (header.contentChecksum) codec.xxh32Start(STATE, 0)
  let total = 0
  let history = OUTPUT
  let target = OUTPUT
  for (;;) {
    const offset = feed.offset
    const word = await takeLe32(feed)
    if (word === 0) break
    const stored = word >>> 31 === 1
    const length = word & 0x7fffffff
    if (length > maxBlockSize) throw refuse.damaged(offset, `a block of ${length} bytes`)
    if (independent) {
      history = target = OUTPUT
    } else if (target + maxBlockSize > OUTPUT_END) {
      codec.bytes.copyWithin(OUTPUT, target - HISTORY, target)
      history = OUTPUT
      target = OUTPUT + HISTORY
    }

    const source = stored ? target : INPUT
    await takeInto(feed, codec.bytes.subarray(source, source + length))
    if (header.blockChecksums && (await takeLe32(feed)) !== codec.xxh32(source, length, 0)) {
      throw refuse.checksum(offset, 'block')
    }
    const size = stored ? length : codec.decompress(source, length, target, maxBlockSize, history)
    if (size < 0) throw refuse.damaged(offset, 'a block that cannot be decoded')
    total += size
    if (contentSize !== undefined && total > contentSize)
      throw refuse.sizeMismatch(contentSize, `${total} or more`)
    if (header.contentChecksum) codec.xxh32Update(STATE, target, size)
    yield codec.bytes.subarray(target, target + size)
    target += size
    history = Math.max(history, target - HISTORY)
  }
  if (contentSize !== undefined && total !== contentSize) throw refuse.sizeMismatch(contentSize, total)
  if (!header.contentChecksum) return
  const offset = feed.offset
  if ((await takeLe32(feed)) !== codec.xxh32Finish(STATE)) throw refuse.checksum(offset, 'content')
}

/** Blocks up to the end of the file or the next frame: there is no end mark, and no checksum. */
async function* decodeLegacyFrame(feed: ByteFeed, codec: Codec): AsyncGenerator<Uint8Array, void, void> {
  feed.advance(4)
  for (;;) {
    const enough = await feed.fill(4)
    if (feed.buffered === 0) return
    if (!enough) throw refuse.truncated(feed.offset + feed.buffered)
    const offset = feed.offset
    const length = readLe32(feed.view(4), 0)
    if (MAGICS.includes(length) || isSkippableMagic(length)) return
    if (length === 0 || length > MAX_LEGACY_STORED) throw refuse.damaged(offset, `a block of ${length} bytes`)
    feed.advance(4)
    await takeInto(feed, codec.bytes.subarray(INPUT, INPUT + length))
    const size = codec.decompress(INPUT, length, OUTPUT, LEGACY_BLOCK, OUTPUT)
    if (size < 0) throw refuse.damaged(offset, 'a block that cannot be decoded')
    yield codec.bytes.subarray(OUTPUT, OUTPUT + size)
  }
}

async function takeLe32(feed: ByteFeed): Promise<number> {
  if (feed.buffered < 4 && !(await feed.fill(4))) throw refuse.truncated(feed.offset + feed.buffered)
  const value = readLe32(feed.view(4), 0)
  feed.advance(4)
  return value
}

async function takeInto(feed: ByteFeed, target: Uint8Array): Promise<void> {
  if ((await feed.readInto(target)) < target.length) throw refuse.truncated(feed.offset)
}
