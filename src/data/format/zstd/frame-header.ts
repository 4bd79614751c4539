import type { ByteFeed } from '#base/byte-feed.ts'
import { KiB } from '#base/bytes.ts'
import { readLe32 } from '../frames.ts'
import { streamRefusals, tooLarge } from '../stream-refusals.ts'

const refuse = streamRefusals('zstd')

export interface FrameHeader {
  /** Bytes of the header itself, with the magic number. */
  readonly size: number
  /** The most that one block holds, stored or plain, in bytes. */
  readonly maxBlockSize: number
  readonly checksum: boolean
  /** What the frame claims to hold. */
  readonly contentSize: number | undefined
}

const MAGIC_SIZE = 4
const SINGLE_SEGMENT = 0x20
const RESERVED = 0x08
const CHECKSUM = 0x04
const DICTIONARY_SIZES = [0, 1, 2, 4] as const
const CONTENT_SIZES = [0, 2, 4, 8] as const
const MAX_BLOCK_SIZE = 128 * KiB

interface HeaderLimits {
  /** The most that the frame may claim to hold, and the largest window, in bytes. */
  readonly limit: number
  readonly zstdWindow: number
}

/**
 * Reads a frame's header without moving on: it is part of the frame.
 * @throws Refusal: truncated, unsupported-stream, memory-limit, too-large
 * @see RFC 8878, section 3.1.1.1
 */
export async function peekFrameHeader(
  feed: ByteFeed,
  { limit, zstdWindow }: HeaderLimits,
): Promise<FrameHeader> {
  if (!(await feed.fill(MAGIC_SIZE + 1))) throw refuse.truncated(feed.offset + feed.buffered)
  const flags = feed.view(MAGIC_SIZE + 1)[MAGIC_SIZE] ?? 0
  if ((flags & RESERVED) !== 0) throw refuse.unsupported('a reserved header bit')
  const single = (flags & SINGLE_SEGMENT) !== 0
  const dictionaryAt = MAGIC_SIZE + (single ? 1 : 2)
  const contentAt = dictionaryAt + (DICTIONARY_SIZES[flags & 3] ?? 0)
  const code = flags >> 6
  const size = contentAt + (code === 0 && single ? 1 : (CONTENT_SIZES[code] ?? 0))
  if (!(await feed.fill(size))) throw refuse.truncated(feed.offset + feed.buffered)
  const header = feed.view(size)
  if (header.subarray(dictionaryAt, contentAt).some((byte) => byte !== 0)) {
    throw refuse.unsupported('a dictionary')
  }
  const contentSize = readContentSize(header.subarray(contentAt))
  const window = contentSize !== undefined && single ? contentSize : windowOf(header[MAGIC_SIZE + 1] ?? 0)
  if (window > zstdWindow) throw refuse.memoryLimit('window', window, zstdWindow)
  if (contentSize !== undefined && contentSize > limit) throw tooLarge(limit, contentSize)
  return {
    size,
    maxBlockSize: Math.min(window, MAX_BLOCK_SIZE),
    checksum: (flags & CHECKSUM) !== 0,
    contentSize,
  }
}

function windowOf(byte: number): number {
  const base = 2 ** (10 + (byte >> 3))
  return base + (base / 8) * (byte & 7)
}

/** Above 2^53 the number is not exact, but then it is over any limit. */
function readContentSize(bytes: Uint8Array): number | undefined {
  const [low = 0, high = 0] = bytes
  if (bytes.length === 0) return undefined
  if (bytes.length === 1) return low
  if (bytes.length === 2) return low + high * 256 + 256
  return readLe32(bytes, 0) + (bytes.length === 8 ? readLe32(bytes, 4) * 2 ** 32 : 0)
}
