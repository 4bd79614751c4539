import type { ByteFeed } from '#base/byte-feed.ts'
import { streamRefusals, tooLarge } from '../stream-refusals.ts'
import type { FrameHeader } from './frame-header.ts'

const refuse = streamRefusals('zstd')

const BLOCK_HEADER_SIZE = 3
const CHECKSUM_SIZE = 4
const RAW = 0
const REPEATED = 1
const COMPRESSED = 2

/**
 * Finds the end of a frame without decoding it: blocks say how long they are. Gives the frame's bytes in spans, header
 * and checksum included; a span is given once its structure is known to be good, and is valid until the next one is
 * asked for.
 * @param limit the most that the frame may decode to, as far as its structure tells
 * @throws Refusal: truncated, bad-stream, size-mismatch, too-large
 * @see RFC 8878, section 3.1.1.2
 */
export async function* walkFrame(
  feed: ByteFeed,
  header: FrameHeader,
  limit: number,
): AsyncGenerator<Uint8Array, void, void> {
  yield feed.view(header.size)
  feed.advance(header.size)
  const blocks = new BlockWalk(header, limit)
  while (!blocks.ended) {
    const span = blocks.walk(feed.view(), feed.offset)
    if (span > 0) {
      yield feed.view(span)
      feed.advance(span)
    } else if (!(await feed.fill(feed.buffered + 1))) {
      throw refuse.truncated(feed.offset + feed.buffered)
    }
  }
}

/** Goes from block to block. */
class BlockWalk {
  readonly #header: FrameHeader
  readonly #limit: number
  /** Bytes of the current block, or of the checksum, that are still to come. */
  #left = 0
  #last = false
  /** What the blocks so far decode to: at least, and at most. */
  #least = 0
  #most = 0

  constructor(header: FrameHeader, limit: number) {
    this.#header = header
    this.#limit = limit
  }

  get ended(): boolean {
    return this.#last && this.#left === 0
  }

  /** Walks over the bytes at hand; returns how many of them are good, 0 where a block header needs more. */
  walk(bytes: Uint8Array, offset: number): number {
    let at = 0
    while (at < bytes.length && !this.ended) {
      if (this.#left > 0) {
        const count = Math.min(this.#left, bytes.length - at)
        this.#left -= count
        at += count
      } else if (at + BLOCK_HEADER_SIZE > bytes.length) {
        break
      } else {
        const [low = 0, middle = 0, high = 0] = bytes.subarray(at, at + BLOCK_HEADER_SIZE)
        this.#enterBlock(low + middle * 256 + high * 65536, offset + at)
        at += BLOCK_HEADER_SIZE
      }
    }
    return at
  }

  #enterBlock(word: number, offset: number): void {
    const { maxBlockSize, checksum, contentSize } = this.#header
    const type = (word >> 1) & 3
    const size = word >> 3
    if (type > COMPRESSED) throw refuse.damaged(offset, `block type ${type}`)
    if (size > maxBlockSize) throw refuse.damaged(offset, `a block of ${size} bytes`)
    this.#least += type === RAW || type === REPEATED ? size : 0
    this.#most += type === COMPRESSED ? maxBlockSize : size
    if (this.#least > this.#limit) throw tooLarge(this.#limit)
    if (contentSize !== undefined && this.#least > contentSize) {
      throw refuse.sizeMismatch(contentSize, `${this.#least} or more`)
    }
    this.#left = type === REPEATED ? 1 : size
    if ((word & 1) === 0) return
    this.#last = true
    if (checksum) this.#left += CHECKSUM_SIZE
    if (contentSize !== undefined && this.#most < contentSize) {
      throw refuse.sizeMismatch(contentSize, `at most ${this.#most}`)
    }
  }
}
