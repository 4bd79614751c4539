import type { ByteFeed } from '#base/byte-feed.ts'
import { streamRefusals, tooLarge } from '../stream-refusals.ts'
import type { BlockHeader } from './block-header.ts'
import type { BlockSizes } from './stream-index.ts'

const refuse = streamRefusals('xz')

/** The longest LZMA2 chunk header. */
const MAX_CHUNK_HEADER = 6
const LAST_CHUNK = 0x00
const STORED_RESET = 0x01
const STORED = 0x02
const LZMA = 0x80
const LZMA_NEW_PROPERTIES = 0xc0
const LZMA_RESET_ALL = 0xe0
const MAX_PROPERTIES = 224

export interface WalkOptions {
  readonly header: BlockHeader
  /** Bytes of the check behind the data. */
  readonly checkSize: number
  /** The most that may be decoded in all, and what of it was decoded before this block. */
  readonly limit: number
  readonly decodedBefore: number
}

/**
 * Finds the end of a block without decoding it: LZMA2 data are chunks that each say their length, compressed and
 * plain. Gives the block's bytes in spans, header, padding and check included; a span is given once its structure
 * is known to be good, and is valid until the next one is asked for.
 * @returns the real sizes
 * @throws Refusal: truncated, bad-stream, size-mismatch, too-large
 * @see .xz file format 1.2, "Block"; for LZMA2: LZMA SDK, DOC/lzma-specification.txt
 */
export async function* walkBlock(
  feed: ByteFeed,
  options: WalkOptions,
): AsyncGenerator<Uint8Array, BlockSizes, void> {
  const { header, checkSize, limit, decodedBefore } = options
  if (header.uncompressedSize !== undefined && decodedBefore + header.uncompressedSize > limit) {
    throw tooLarge(limit, decodedBefore + header.uncompressedSize)
  }
  const chunks = new ChunkWalk(feed.offset + header.size, options)
  yield feed.view(header.size)
  feed.advance(header.size)
  while (!chunks.ended) {
    const span = chunks.walk(feed.view(), feed.offset)
    if (span > 0) {
      yield feed.view(span)
      feed.advance(span)
    } else if (!(await feed.fill(feed.buffered + 1))) {
      throw refuse.truncated(feed.offset + feed.buffered)
    }
  }

  const { compressedSize, uncompressedSize } = chunks
  if (header.compressedSize !== undefined && header.compressedSize !== compressedSize) {
    throw refuse.sizeMismatch(header.compressedSize, compressedSize)
  }
  if (header.uncompressedSize !== undefined && header.uncompressedSize !== uncompressedSize) {
    throw refuse.sizeMismatch(header.uncompressedSize, uncompressedSize)
  }
  const padding = (4 - (compressedSize % 4)) % 4
  if (!(await feed.fill(padding + checkSize))) throw refuse.truncated(feed.offset + feed.buffered)
  const end = feed.view(padding + checkSize)
  if (end.subarray(0, padding).some((byte) => byte !== 0)) {
    throw refuse.damaged(feed.offset, 'padding that is not zero')
  }
  yield end
  feed.advance(end.length)
  return { unpaddedSize: header.size + compressedSize + checkSize, uncompressedSize }
}

/** Goes from chunk to chunk of LZMA2 data. */
class ChunkWalk {
  readonly #options: WalkOptions
  readonly #start: number
  /** Bytes of the current chunk that are still to come. */
  #left = 0
  #first = true
  #needsProperties = true
  ended = false
  compressedSize = 0
  uncompressedSize = 0

  constructor(start: number, options: WalkOptions) {
    this.#start = start
    this.#options = options
  }

  /** Walks over the bytes at hand; returns how many of them are good, 0 where a chunk header needs more. */
  walk(bytes: Uint8Array, offset: number): number {
    let at = 0
    while (at < bytes.length && !this.ended) {
      if (this.#left > 0) {
        const count = Math.min(this.#left, bytes.length - at)
        this.#left -= count
        at += count
        continue
      }
      const size = this.#readChunkHeader(bytes.subarray(at, at + MAX_CHUNK_HEADER), offset + at)
      if (size === undefined) break
      at += size
    }
    this.compressedSize = offset + at - this.#start
    const { header } = this.#options
    const claim = header.compressedSize
    if (claim !== undefined && this.compressedSize + this.#left > claim) {
      throw refuse.sizeMismatch(claim, `${this.compressedSize} or more`)
    }
    return at
  }

  /** Returns the header's size, undefined where it is cut. */
  #readChunkHeader(bytes: Uint8Array, offset: number): number | undefined {
    const control = bytes[0] ?? 0
    if (control === LAST_CHUNK) {
      this.ended = true
      return 1
    }
    if (control > STORED && control < LZMA) throw refuse.damaged(offset, `chunk type ${control}`)
    if (this.#first && control !== STORED_RESET && control < LZMA_RESET_ALL) {
      throw refuse.damaged(offset, 'the first chunk does not reset the dictionary')
    }
    const size = control < LZMA ? 3 : control < LZMA_NEW_PROPERTIES ? 5 : 6
    if (bytes.length < size) return undefined
    const [, high = 0, low = 0, packedHigh = 0, packedLow = 0, properties = 0] = bytes
    const length = high * 256 + low + 1
    this.#first = false
    if (control < LZMA) {
      if (control === STORED_RESET) this.#needsProperties = true
      this.#left = length
      this.#count(length)
      return size
    }
    if (control >= LZMA_NEW_PROPERTIES) this.#checkProperties(properties, offset)
    else if (this.#needsProperties) throw refuse.damaged(offset, 'a chunk before any properties')
    this.#left = packedHigh * 256 + packedLow + 1
    this.#count((control & 0x1f) * 65536 + length)
    return size
  }

  #checkProperties(properties: number, offset: number): void {
    const literal = (properties % 9) + (Math.floor(properties / 9) % 5)
    if (properties > MAX_PROPERTIES || literal > 4)
      throw refuse.damaged(offset, `LZMA properties ${properties}`)
    this.#needsProperties = false
  }

  #count(length: number): void {
    const { header, limit, decodedBefore } = this.#options
    this.uncompressedSize += length
    if (decodedBefore + this.uncompressedSize > limit) throw tooLarge(limit)
    if (header.uncompressedSize !== undefined && this.uncompressedSize > header.uncompressedSize) {
      throw refuse.sizeMismatch(header.uncompressedSize, `${this.uncompressedSize} or more`)
    }
  }
}
