import { crc32 } from 'node:zlib'
import type { ByteFeed } from '#base/byte-feed.ts'
import { KiB } from '#base/bytes.ts'
import { streamRefusals } from '../stream-refusals.ts'

const refuse = streamRefusals('gzip')

const FIXED_SIZE = 10
/** Name, comment and extra field together: a name may be endless. */
const MAX_FIELDS_SIZE = 64 * KiB
const HEADER_CRC = 2
const EXTRA = 4
const NAME = 8
const COMMENT = 16
const RESERVED = 0xe0

/**
 * Reads a member's header and moves behind it.
 * @throws Refusal: truncated, bad-stream, unsupported-stream, checksum
 * @see RFC 1952, section 2.3
 */
export async function readGzipHeader(feed: ByteFeed): Promise<void> {
  if (!(await feed.fill(FIXED_SIZE))) throw refuse.truncated(feed.offset + feed.buffered)
  const [first, second, method, flags = 0] = feed.view(FIXED_SIZE)
  if (first !== 0x1f || second !== 0x8b) throw refuse.damaged(feed.offset, 'no member begins here')
  if (method !== 8) throw refuse.unsupported(`compression method ${method}`)
  if ((flags & RESERVED) !== 0) throw refuse.unsupported(`reserved flags (${flags & RESERVED})`)

  const fields = new HeaderFields(feed)
  await fields.take(FIXED_SIZE)
  if ((flags & EXTRA) !== 0) {
    const [low = 0, high = 0] = await fields.take(2)
    await fields.take(low + 256 * high)
  }
  if ((flags & NAME) !== 0) await fields.takeText()
  if ((flags & COMMENT) !== 0) await fields.takeText()
  if ((flags & HEADER_CRC) === 0) return
  const expected = fields.crc & 0xffff
  const offset = feed.offset
  const [low = 0, high = 0] = await fields.take(2)
  if (low + 256 * high !== expected) throw refuse.checksum(offset, 'member header')
}

class HeaderFields {
  readonly #feed: ByteFeed
  readonly #start: number
  #crc = 0

  constructor(feed: ByteFeed) {
    this.#feed = feed
    this.#start = feed.offset
  }

  /** CRC-32 of all that was taken. */
  get crc(): number {
    return this.#crc
  }

  async take(length: number): Promise<Uint8Array> {
    const feed = this.#feed
    this.#limit(feed.offset + length)
    if (!(await feed.fill(length))) throw refuse.truncated(feed.offset + feed.buffered)
    const bytes = feed.view(length)
    this.#crc = crc32(bytes, this.#crc)
    feed.advance(length)
    return bytes
  }

  async takeText(): Promise<void> {
    const feed = this.#feed
    for (;;) {
      if (feed.buffered === 0 && !(await feed.fill(1))) throw refuse.truncated(feed.offset)
      const bytes = feed.view()
      const end = bytes.indexOf(0)
      await this.take(end < 0 ? bytes.length : end + 1)
      if (end >= 0) return
    }
  }

  #limit(end: number): void {
    if (end - this.#start > FIXED_SIZE + 4 + MAX_FIELDS_SIZE) {
      throw refuse.damaged(this.#start, `a member header of more than ${MAX_FIELDS_SIZE} bytes`)
    }
  }
}
