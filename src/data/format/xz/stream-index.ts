import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { ByteFeed } from '#base/byte-feed.ts'
import { KiB, MiB } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import { readLe32 } from '../frames.ts'
import { streamRefusals } from '../stream-refusals.ts'
import { MAX_INTEGER_SIZE, readInteger, writeInteger } from './integers.ts'

const refuse = streamRefusals('xz')

/** The longest index that is read, in bytes. */
const MAX_INDEX_SIZE = 16 * MiB

export interface BlockSizes {
  /** Header, compressed data and check, without the padding. */
  readonly unpaddedSize: number
  readonly uncompressedSize: number
}

/**
 * What a stream's index must say. Only a count and a hash are kept: there is one way to write an integer, so equal
 * lists have equal bytes, and a file of millions of tiny blocks costs no memory.
 */
export class StreamIndex {
  readonly #hash = new RecordHash()
  #count = 0

  add({ unpaddedSize, uncompressedSize }: BlockSizes): void {
    this.#hash.add([...writeInteger(unpaddedSize), ...writeInteger(uncompressedSize)])
    this.#count++
  }

  /** Whether so many blocks have come that their index would not be read. */
  get tooLong(): boolean {
    return this.#hash.size > MAX_INDEX_SIZE
  }

  /**
   * Reads the file's index, from its indicator byte on, moves behind it and compares.
   * @returns its size in bytes
   * @throws Refusal: truncated, bad-stream, checksum, size-mismatch
   */
  async read(feed: ByteFeed): Promise<number> {
    const reader = new IndexReader(feed)
    await reader.fill(1)
    reader.take(1)
    const count = readValue(await reader.takeInteger())
    if (count !== this.#count) {
      throw refuse.damaged(feed.offset, `the index names ${count} blocks, there are ${this.#count}`)
    }
    const hash = new RecordHash()
    for (let index = 0; index < 2 * count; index++) hash.add(await reader.takeInteger())
    const padding = (4 - (reader.size % 4)) % 4
    await reader.fill(padding + 4)
    if (reader.take(padding).some((byte) => byte !== 0)) {
      throw refuse.damaged(feed.offset, 'padding that is not zero')
    }
    const crc = reader.crc
    if (readLe32(reader.take(4), 0) !== crc) throw refuse.checksum(feed.offset - 4, 'index')
    if (hash.digest() !== this.#hash.digest()) {
      throw new Refusal('size-mismatch', 'The index of the xz stream says other sizes than its blocks have.')
    }
    return reader.size
  }
}

/** Hashes records, many at a time: a hash of its own for each few bytes would be slow. */
class RecordHash {
  readonly #hash = createHash('sha256')
  readonly #pending = new Uint8Array(4 * KiB)
  #filled = 0
  #hashed = 0

  /** Bytes of all records so far. */
  get size(): number {
    return this.#hashed + this.#filled
  }

  add(bytes: ArrayLike<number>): void {
    if (this.#filled + bytes.length > this.#pending.length) this.#flush()
    this.#pending.set(bytes, this.#filled)
    this.#filled += bytes.length
  }

  digest(): string {
    this.#flush()
    return this.#hash.copy().digest('hex')
  }

  #flush(): void {
    this.#hash.update(this.#pending.subarray(0, this.#filled))
    this.#hashed += this.#filled
    this.#filled = 0
  }
}

/** Takes an index apart, minding its size and checksum. */
class IndexReader {
  readonly #feed: ByteFeed
  size = 0
  crc = 0

  constructor(feed: ByteFeed) {
    this.#feed = feed
  }

  async fill(length: number): Promise<void> {
    if (!(await this.#feed.fill(length))) throw refuse.truncated(this.#feed.offset + this.#feed.buffered)
  }

  /** The next bytes, which are at hand. */
  take(length: number): Uint8Array {
    const bytes = this.#feed.view(length)
    this.crc = crc32(bytes, this.crc)
    this.size += length
    this.#feed.advance(length)
    return bytes
  }

  async takeInteger(): Promise<Uint8Array> {
    const feed = this.#feed
    if (feed.buffered < MAX_INTEGER_SIZE) await feed.fill(MAX_INTEGER_SIZE)
    const read = readInteger(feed.view(MAX_INTEGER_SIZE), 0)
    if (read === 'cut') throw refuse.truncated(feed.offset + feed.buffered)
    if (read === 'invalid') throw refuse.damaged(feed.offset, 'an integer that is not allowed')
    if (this.size > MAX_INDEX_SIZE)
      throw refuse.damaged(feed.offset, `an index of over ${MAX_INDEX_SIZE} bytes`)
    return this.take(read.end)
  }
}

function readValue(bytes: Uint8Array): number {
  const read = readInteger(bytes, 0)
  assert(typeof read === 'object', 'an integer that was read once reads again')
  return read.value
}
