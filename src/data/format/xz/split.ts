import { ByteFeed } from '#base/byte-feed.ts'
import { type ByteStream, MiB } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import type { DecodeOptions } from '../decode-options.ts'
import { emptyImage, streamRefusals } from '../stream-refusals.ts'
import { collectBlock, decodeBlock, type XzBlock } from './block.ts'
import { type BlockHeader, peekBlockHeader } from './block-header.ts'
import type { BlockOptions } from './block-reader.ts'
import { checkSizeOf, readStreamFooter, readStreamHeader, STREAM_MAGIC } from './stream-ends.ts'
import { type BlockSizes, StreamIndex } from './stream-index.ts'

const refuse = streamRefusals('xz')

/** The largest compressed block that is kept whole, by default: `xz -T` makes them of 24 MiB before compression. */
const MAX_BUFFERED_BLOCK = 24 * MiB
/** The largest dictionary of such a block, that of `xz -7`: each decoder at work has one and a half of them. */
const MAX_BUFFERED_DICTIONARY = 16 * MiB

/** A part of the decoded content, in the order of the file. */
export type XzItem =
  | ({ readonly kind: 'block' } & XzBlock)
  /** Plain bytes that come in order only; to be read to their end before the next item is asked for. */
  | { readonly kind: 'stream'; readonly chunks: AsyncGenerator<Uint8Array, void, void> }

interface SplitOptions extends Pick<DecodeOptions, 'limit' | 'xzDictionary' | 'signal'> {
  /** The largest compressed block that is handed out whole, in bytes; 0 for none. */
  readonly maxBufferedBlock?: number
}

/**
 * Splits an xz file into blocks while it arrives. A block whose header names both its sizes, as all of a file by
 * `xz -T` do, comes whole, not decoded but checked for its structure, so that several can be decoded at once; any
 * other comes decoded.
 * What is wrong behind the last block, in the index say, is thrown after it.
 * @throws Refusal: truncated, bad-stream, unsupported-stream, checksum, size-mismatch, memory-limit, too-large,
 * trailing-garbage, empty; or the signal's reason
 * @see .xz file format 1.2
 */
export async function* splitXz(input: ByteStream, options: SplitOptions): AsyncGenerator<XzItem, void, void> {
  const feed = new ByteFeed(input, options.signal)
  try {
    yield* new Splitter(feed, options).streams()
  } finally {
    await feed.close()
  }
}

class Splitter {
  readonly #feed: ByteFeed
  readonly #options: SplitOptions
  /** Plain bytes of all blocks so far. */
  #decoded = 0

  constructor(feed: ByteFeed, options: SplitOptions) {
    this.#feed = feed
    this.#options = options
  }

  async *streams(): AsyncGenerator<XzItem, void, void> {
    do yield* this.#stream()
    while (await this.#atStream())
    if (this.#decoded === 0) throw emptyImage()
  }

  async *#stream(): AsyncGenerator<XzItem, void, void> {
    const feed = this.#feed
    const check = await readStreamHeader(feed)
    const checkSize = checkSizeOf(check)
    assert(checkSize !== undefined, `xz check ${check}`)
    const index = new StreamIndex()
    const { limit, xzDictionary, signal } = this.#options
    while (await this.#atBlock()) {
      const header = await peekBlockHeader(feed, xzDictionary)
      const sizes = yield* this.#block(check, {
        header,
        checkSize,
        limit,
        decodedBefore: this.#decoded,
        signal,
      })
      this.#decoded += sizes.uncompressedSize
      index.add(sizes)
      if (index.tooLong) throw refuse.damaged(feed.offset, 'more blocks than an index may name')
    }
    const indexSize = await index.read(feed)
    await readStreamFooter(feed, check, indexSize)
  }

  async *#block(check: number, options: BlockOptions): AsyncGenerator<XzItem, BlockSizes, void> {
    const { header, checkSize } = options
    const size = bufferedSize(header, checkSize)
    const most =
      header.dictionary > MAX_BUFFERED_DICTIONARY ? 0 : (this.#options.maxBufferedBlock ?? MAX_BUFFERED_BLOCK)
    if (size <= most) {
      const { bytes, sizes } = await collectBlock(this.#feed, size, options)
      yield { kind: 'block', bytes, check, uncompressedSize: sizes.uncompressedSize }
      return sizes
    }
    const decoding = decodeBlock(this.#feed, check, options)
    let sizes: BlockSizes | undefined
    async function* chunks(): AsyncGenerator<Uint8Array, void, void> {
      sizes = yield* decoding
    }
    yield { kind: 'stream', chunks: chunks() }
    assert(sizes, 'an xz item is read to its end before the next one')
    return sizes
  }

  /** Whether another block follows; else it is the index. */
  async #atBlock(): Promise<boolean> {
    if (!(await this.#feed.fill(1))) throw refuse.truncated(this.#feed.offset)
    return this.#feed.byte !== 0
  }

  /** Moves over the zeros that may follow a stream; whether another stream follows those. */
  async #atStream(): Promise<boolean> {
    const feed = this.#feed
    const start = feed.offset
    while (feed.buffered > 0 || (await feed.fill(1))) {
      const bytes = feed.view()
      const other = bytes.findIndex((byte) => byte !== 0)
      feed.advance(other < 0 ? bytes.length : other)
      if (other >= 0) break
    }
    await feed.fill(STREAM_MAGIC.length)
    const magic = feed.view(STREAM_MAGIC.length)
    const whole = (feed.offset - start) % 4 === 0
    if (!whole || magic.some((byte, index) => byte !== STREAM_MAGIC[index])) {
      throw refuse.trailingGarbage(whole ? feed.offset : start)
    }
    if (magic.length > 0 && magic.length < STREAM_MAGIC.length)
      throw refuse.truncated(feed.offset + magic.length)
    return magic.length > 0
  }
}

/** How long a block is that names both its sizes; they are only claims, and compared while it is read. */
function bufferedSize({ size, compressedSize, uncompressedSize }: BlockHeader, checkSize: number): number {
  if (compressedSize === undefined || uncompressedSize === undefined) return Number.POSITIVE_INFINITY
  return size + Math.ceil(compressedSize / 4) * 4 + checkSize
}
