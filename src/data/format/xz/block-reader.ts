import type { ByteFeed } from '#base/byte-feed.ts'
import { streamRefusals, tooLarge } from '../stream-refusals.ts'
import type { BlockHeader } from './block-header.ts'
import type { BlockSizes } from './stream-index.ts'

const refuse = streamRefusals('xz')

const LAST_CHUNK = 0x00
const STORED_RESET = 0x01
const STORED = 0x02
const LZMA = 0x80
const LZMA_RESET_STATE = 0xa0
const LZMA_NEW_PROPERTIES = 0xc0
const LZMA_RESET_ALL = 0xe0
const MAX_PROPERTIES = 224

export interface BlockOptions {
  readonly header: BlockHeader
  /** Bytes of the check behind the data. */
  readonly checkSize: number
  /** The most that may be decoded in all, and what of it was decoded before this block. */
  readonly limit: number
  readonly decodedBefore: number
  readonly signal?: AbortSignal | undefined
}

/** A chunk of LZMA2 data, as its header says. */
export interface Chunk {
  /** The header itself; a copy. */
  readonly header: Uint8Array
  /** Bytes that follow it: the plain ones where the chunk is stored. */
  readonly packedLength: number
  readonly length: number
  readonly stored: boolean
  readonly resetsDictionary: boolean
  /** The properties to begin anew with; undefined where the chunk goes on as the one before. */
  readonly newState: number | undefined
}

/**
 * Reads a block part by part: header, chunks, end. LZMA2 data are chunks that each say their length, compressed and
 * plain, so what a block holds and where it ends is known, and held against its claims and the limit, before
 * anything of it is decoded.
 * @see .xz file format 1.2, "Block"; for LZMA2: LZMA SDK, DOC/lzma-specification.txt
 */
export class BlockReader {
  readonly #feed: ByteFeed
  readonly #options: BlockOptions
  readonly #dataStart: number
  #uncompressedSize = 0
  #first = true
  #properties: number | undefined

  constructor(feed: ByteFeed, options: BlockOptions) {
    this.#feed = feed
    this.#options = options
    this.#dataStart = feed.offset + options.header.size
  }

  /**
   * Takes the header, which was peeked at.
   * @returns its bytes, valid until the next call
   * @throws Refusal: too-large
   */
  takeHeader(): Uint8Array {
    const { header, limit, decodedBefore } = this.#options
    if (header.uncompressedSize !== undefined && decodedBefore + header.uncompressedSize > limit) {
      throw tooLarge(limit, decodedBefore + header.uncompressedSize)
    }
    return this.#take(header.size)
  }

  /**
   * Takes the next chunk's header; its body is to be taken by `takeBody` before the next one.
   * @returns undefined behind the last chunk
   * @throws Refusal: truncated, bad-stream, size-mismatch, too-large
   */
  async nextChunk(): Promise<Chunk | undefined> {
    const feed = this.#feed
    if (feed.buffered === 0) await this.#need(1)
    const control = feed.byte
    if (control === LAST_CHUNK) {
      feed.advance(1)
      this.#checkCompressed(0)
      return undefined
    }
    if (control > STORED && control < LZMA) throw refuse.damaged(feed.offset, `chunk type ${control}`)
    if (this.#first && control !== STORED_RESET && control < LZMA_RESET_ALL) {
      throw refuse.damaged(feed.offset, 'the first chunk does not reset the dictionary')
    }
    const size = control < LZMA ? 3 : control < LZMA_NEW_PROPERTIES ? 5 : 6
    await this.#need(size)
    const chunk = this.#parse(feed.view(size).slice())
    feed.advance(size)
    this.#first = false
    this.#checkCompressed(chunk.packedLength)
    this.#count(chunk.length)
    return chunk
  }

  /**
   * Takes the body of the chunk at hand.
   * @param target of `packedLength` bytes
   * @throws Refusal: truncated
   */
  async takeBody(target: Uint8Array): Promise<void> {
    const got = await this.#feed.readInto(target)
    if (got < target.length) throw refuse.truncated(this.#feed.offset)
  }

  /**
   * Takes what follows the last chunk.
   * @returns padding and check, valid until the feed is used again, and the block's real sizes
   * @throws Refusal: truncated, bad-stream, size-mismatch
   */
  async takeEnd(): Promise<{ padding: Uint8Array; check: Uint8Array; sizes: BlockSizes }> {
    const { header, checkSize } = this.#options
    const feed = this.#feed
    const compressedSize = feed.offset - this.#dataStart
    if (header.compressedSize !== undefined && header.compressedSize !== compressedSize) {
      throw refuse.sizeMismatch(header.compressedSize, compressedSize)
    }
    const uncompressedSize = this.#uncompressedSize
    if (header.uncompressedSize !== undefined && header.uncompressedSize !== uncompressedSize) {
      throw refuse.sizeMismatch(header.uncompressedSize, uncompressedSize)
    }
    const paddingSize = (4 - (compressedSize % 4)) % 4
    await this.#need(paddingSize + checkSize)
    const end = feed.view(paddingSize + checkSize)
    const padding = end.subarray(0, paddingSize)
    if (padding.some((byte) => byte !== 0)) throw refuse.damaged(feed.offset, 'padding that is not zero')
    feed.advance(end.length)
    const sizes = { unpaddedSize: header.size + compressedSize + checkSize, uncompressedSize }
    return { padding, check: end.subarray(paddingSize), sizes }
  }

  async #need(length: number): Promise<void> {
    if (!(await this.#feed.fill(length))) throw refuse.truncated(this.#feed.offset + this.#feed.buffered)
  }

  #take(length: number): Uint8Array {
    const bytes = this.#feed.view(length)
    this.#feed.advance(length)
    return bytes
  }

  #parse(header: Uint8Array): Chunk {
    const [control = 0, high = 0, low = 0, packedHigh = 0, packedLow = 0, properties = 0] = header
    const length = high * 256 + low + 1
    if (control < LZMA) {
      const resetsDictionary = control === STORED_RESET
      if (resetsDictionary) this.#properties = undefined
      return { header, packedLength: length, length, stored: true, resetsDictionary, newState: undefined }
    }
    if (control >= LZMA_NEW_PROPERTIES) this.#properties = this.#checkProperties(properties)
    else if (this.#properties === undefined) {
      throw refuse.damaged(this.#feed.offset, 'a chunk before any properties')
    }
    return {
      header,
      packedLength: packedHigh * 256 + packedLow + 1,
      length: (control & 0x1f) * 65536 + length,
      stored: false,
      resetsDictionary: control >= LZMA_RESET_ALL,
      newState: control >= LZMA_RESET_STATE ? this.#properties : undefined,
    }
  }

  #checkProperties(properties: number): number {
    const literal = (properties % 9) + (Math.floor(properties / 9) % 5)
    if (properties > MAX_PROPERTIES || literal > 4) {
      throw refuse.damaged(this.#feed.offset, `LZMA properties ${properties}`)
    }
    return properties
  }

  /** @param left bytes of the chunk at hand that are still to come */
  #checkCompressed(left: number): void {
    const claim = this.#options.header.compressedSize
    const compressedSize = this.#feed.offset - this.#dataStart
    if (claim !== undefined && compressedSize + left > claim) {
      throw refuse.sizeMismatch(claim, `${compressedSize} or more`)
    }
  }

  #count(length: number): void {
    const { header, limit, decodedBefore } = this.#options
    this.#uncompressedSize += length
    if (decodedBefore + this.#uncompressedSize > limit) throw tooLarge(limit)
    if (header.uncompressedSize !== undefined && this.#uncompressedSize > header.uncompressedSize) {
      throw refuse.sizeMismatch(header.uncompressedSize, `${this.#uncompressedSize} or more`)
    }
  }
}
