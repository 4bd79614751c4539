import { crc32 } from 'node:zlib'
import type { ByteFeed } from '#base/byte-feed.ts'
import { readLe32 } from '../frames.ts'
import { streamRefusals } from '../stream-refusals.ts'

/** The 12 bytes at either end of an xz stream. */

const refuse = streamRefusals('xz')

const STREAM_HEADER_SIZE = 12
const STREAM_FOOTER_SIZE = 12
export const STREAM_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] as const
const FOOTER_MAGIC = [0x59, 0x5a] as const

/** How a stream's blocks are checked, by the number in its header; values are lengths in bytes. */
const CHECK_SIZES: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [1, 4],
  [4, 8],
  [10, 32],
])

/** Bytes of the check behind each block; undefined for one that is not known. */
export function checkSizeOf(check: number): number | undefined {
  return CHECK_SIZES.get(check)
}

/**
 * Reads a stream header and moves behind it.
 * @returns the kind of check
 * @throws Refusal: truncated, bad-stream, checksum, unsupported-stream
 */
export async function readStreamHeader(feed: ByteFeed): Promise<number> {
  if (!(await feed.fill(STREAM_HEADER_SIZE))) throw refuse.truncated(feed.offset + feed.buffered)
  const header = feed.view(STREAM_HEADER_SIZE)
  if (STREAM_MAGIC.some((byte, index) => header[index] !== byte))
    throw refuse.damaged(feed.offset, 'no stream')
  if (readLe32(header, 8) !== crc32(header.subarray(6, 8))) {
    throw refuse.checksum(feed.offset + 8, 'stream header')
  }
  const [first = 0, check = 0] = header.subarray(6, 8)
  if (first !== 0 || check > 15) throw refuse.unsupported('reserved header bits')
  if (checkSizeOf(check) === undefined) throw refuse.unsupported(`check ${check}`)
  feed.advance(STREAM_HEADER_SIZE)
  return check
}

/**
 * Reads a stream footer and moves behind it.
 * @param check what the header says
 * @param indexSize the real size of the index
 * @throws Refusal: truncated, bad-stream, checksum
 */
export async function readStreamFooter(feed: ByteFeed, check: number, indexSize: number): Promise<void> {
  if (!(await feed.fill(STREAM_FOOTER_SIZE))) throw refuse.truncated(feed.offset + feed.buffered)
  const footer = feed.view(STREAM_FOOTER_SIZE)
  if (FOOTER_MAGIC.some((byte, index) => footer[10 + index] !== byte)) {
    throw refuse.damaged(feed.offset + 10, 'no end of a stream')
  }
  if (readLe32(footer, 0) !== crc32(footer.subarray(4, 10)))
    throw refuse.checksum(feed.offset, 'stream footer')
  if ((readLe32(footer, 4) + 1) * 4 !== indexSize)
    throw refuse.damaged(feed.offset + 4, 'wrong size of the index')
  if (footer[8] !== 0 || footer[9] !== check)
    throw refuse.damaged(feed.offset + 8, 'header and footer differ')
  feed.advance(STREAM_FOOTER_SIZE)
}
