import type { ByteFeed } from '#base/byte-feed.ts'
import { KiB } from '#base/bytes.ts'
import type { Codec } from '#data/codec/codec.ts'
import { readLe32 } from '../frames.ts'
import { streamRefusals, tooLarge } from '../stream-refusals.ts'

const refuse = streamRefusals('lz4')

export interface FrameHeader {
  /** The most that one block holds, plain or stored, in bytes. */
  readonly maxBlockSize: number
  readonly independent: boolean
  readonly blockChecksums: boolean
  readonly contentChecksum: boolean
  /** What the frame claims to hold. */
  readonly contentSize: number | undefined
}

const MAGIC_SIZE = 4
const INDEPENDENT = 0x20
const BLOCK_CHECKSUMS = 0x10
const CONTENT_SIZE = 0x08
const CONTENT_CHECKSUM = 0x04
const RESERVED_FLAG = 0x02
const DICTIONARY = 0x01

/**
 * Reads a frame's header and moves behind it.
 * @param scratch address of 16 bytes in the codec's memory
 * @param limit the most that the frame may claim to hold
 * @throws Refusal: truncated, unsupported-stream, checksum, too-large
 * @see LZ4 frame format 1.6.4, "Frame Descriptor"
 */
export async function readFrameHeader(
  feed: ByteFeed,
  codec: Codec,
  scratch: number,
  limit: number,
): Promise<FrameHeader> {
  if (!(await feed.fill(MAGIC_SIZE + 2))) throw refuse.truncated(feed.offset + feed.buffered)
  const [, , , , flags = 0, blocks = 0] = feed.view(MAGIC_SIZE + 2)
  if (flags >> 6 !== 1) throw refuse.unsupported(`frame version ${flags >> 6}`)
  if ((flags & RESERVED_FLAG) !== 0 || (blocks & 0x8f) !== 0) throw refuse.unsupported('reserved header bits')

  const hasSize = (flags & CONTENT_SIZE) !== 0
  const hasDictionary = (flags & DICTIONARY) !== 0
  const length = 2 + (hasSize ? 8 : 0) + (hasDictionary ? 4 : 0)
  if (!(await feed.fill(MAGIC_SIZE + length + 1))) throw refuse.truncated(feed.offset + feed.buffered)
  const header = feed.view(MAGIC_SIZE + length + 1).subarray(MAGIC_SIZE)
  codec.bytes.set(header.subarray(0, length), scratch)
  const checksum = (codec.xxh32(scratch, length, 0) >> 8) & 0xff
  if (header[length] !== checksum) throw refuse.checksum(feed.offset + MAGIC_SIZE + length, 'frame header')
  if (hasDictionary) throw refuse.unsupported('a dictionary')
  const code = blocks >> 4
  if (code < 4) throw refuse.unsupported(`block size code ${code}`)

  // Above 2^53 the number is not exact, but then it is over any limit.
  const contentSize = hasSize ? readLe32(header, 2) + readLe32(header, 6) * 2 ** 32 : undefined
  if (contentSize !== undefined && contentSize > limit) throw tooLarge(limit, contentSize)
  feed.advance(MAGIC_SIZE + length + 1)
  return {
    maxBlockSize: (64 * KiB) << (2 * (code - 4)),
    independent: (flags & INDEPENDENT) !== 0,
    blockChecksums: (flags & BLOCK_CHECKSUMS) !== 0,
    contentChecksum: (flags & CONTENT_CHECKSUM) !== 0,
    contentSize,
  }
}
