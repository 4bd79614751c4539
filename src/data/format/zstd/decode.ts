import { constants, createZstdDecompress, zstdDecompressSync } from 'node:zlib'
import { ByteFeed } from '#base/byte-feed.ts'
import { type ByteStream, KiB } from '#base/bytes.ts'
import { boundOutput, type DecodeOptions } from '../decode-options.ts'
import { decodeSpans, isZlibError, SMALL_INPUT, SMALL_OUTPUT, zlibEngine } from '../engine.ts'
import { peekMagic, skipFrame } from '../frames.ts'
import { streamRefusals } from '../stream-refusals.ts'
import { peekFrameHeader } from './frame-header.ts'
import { walkFrame } from './frame-walk.ts'

const refuse = streamRefusals('zstd')

const FRAME_MAGIC = 0xfd2fb528
const CHUNK_SIZE = 256 * KiB

type ZstdOptions = Pick<DecodeOptions, 'limit' | 'zstdWindow' | 'signal'>

/**
 * Decodes a zstd file: frames and skippable frames in any order. Chunks are 256 KiB at most; memory is the window's
 * and 2 MiB.
 * @throws Refusal: truncated, bad-stream, unsupported-stream, checksum, size-mismatch, memory-limit, too-large,
 * trailing-garbage, empty; or the signal's reason
 * @see RFC 8878
 */
export async function* decodeZstd(
  input: ByteStream,
  options: ZstdOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const feed = new ByteFeed(input, options.signal)
  try {
    yield* boundOutput(decodeFrames(feed, options), options)
  } finally {
    await feed.close()
  }
}

async function* decodeFrames(feed: ByteFeed, options: ZstdOptions): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const magic = await peekMagic(feed, [FRAME_MAGIC], refuse)
    if (magic === undefined) return
    if (magic === FRAME_MAGIC) yield* decodeFrame(feed, options)
    else await skipFrame(feed, refuse)
  }
}

async function* decodeFrame(feed: ByteFeed, options: ZstdOptions): AsyncGenerator<Uint8Array, void, void> {
  const header = await peekFrameHeader(feed, options)
  const params = { [constants.ZSTD_d_windowLogMax]: Math.ceil(Math.log2(options.zstdWindow)) }
  try {
    yield* decodeSpans(walkFrame(feed, header, options.limit), {
      small: (bytes) => decodeSmall(bytes, params),
      open: () => zlibEngine(createZstdDecompress({ chunkSize: CHUNK_SIZE, params })),
    })
  } catch (cause) {
    if (!isZlibError(cause)) throw cause
    throw cause.code === 'ZSTD_error_checksum_wrong'
      ? refuse.checksum(feed.offset, 'content of a frame', cause)
      : refuse.damaged(feed.offset, 'this is no zstd data', cause)
  }
}

/** Decodes a small frame; undefined where it gets large, or is damaged. */
function decodeSmall(bytes: Uint8Array, params: Record<number, number>): Uint8Array | undefined {
  try {
    return zstdDecompressSync(bytes, { params, maxOutputLength: SMALL_OUTPUT, chunkSize: SMALL_INPUT })
  } catch {
    return undefined
  }
}
