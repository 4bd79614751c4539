import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib'
import { ByteFeed } from '#base/byte-feed.ts'
import { type ByteStream, KiB } from '#base/bytes.ts'
import { boundOutput, type DecodeOptions } from '../decode-options.ts'
import { isZlibError, runEngine, SMALL_INPUT, SMALL_OUTPUT, zlibEngine } from '../engine.ts'
import { streamRefusals } from '../stream-refusals.ts'
import { readGzipHeader } from './header.ts'

const refuse = streamRefusals('gzip')

const TRAILER_SIZE = 8
const CHUNK_SIZE = 256 * KiB

/**
 * Decodes a gzip file: members one after the other, then perhaps zeros, as tapes leave them.
 * Chunks are 256 KiB at most; memory stays under 2 MiB.
 * @throws Refusal: truncated, bad-stream, unsupported-stream, checksum, size-mismatch, trailing-garbage, too-large,
 * empty; or the signal's reason
 * @see RFC 1952
 */
export async function* decodeGzip(
  input: ByteStream,
  options: Pick<DecodeOptions, 'limit' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  const feed = new ByteFeed(input, options.signal)
  try {
    yield* boundOutput(decodeMembers(feed), options)
  } finally {
    await feed.close()
  }
}

async function* decodeMembers(feed: ByteFeed): AsyncGenerator<Uint8Array, void, void> {
  do {
    await readGzipHeader(feed)
    yield* decodeMember(feed)
  } while (await atMember(feed))
}

/** Whether another member follows; else nothing but zeros may. */
async function atMember(feed: ByteFeed): Promise<boolean> {
  await feed.fill(2)
  const [first, second] = feed.view(2)
  if (first === 0x1f && second === 0x8b) return true
  if (first === 0x1f && second === undefined) throw refuse.truncated(feed.offset + 1)
  while (feed.buffered > 0) {
    const bytes = feed.view()
    const other = bytes.findIndex((byte) => byte !== 0)
    if (other >= 0) throw refuse.trailingGarbage(feed.offset + other)
    feed.advance(bytes.length)
    await feed.fill(1)
  }
  return false
}

async function* decodeMember(feed: ByteFeed): AsyncGenerator<Uint8Array, void, void> {
  let crc = 0
  let length = 0
  await feed.fill(SMALL_INPUT)
  const small = inflateSmall(feed)
  for await (const chunk of small ? [small] : inflateLarge(feed)) {
    crc = crc32(chunk, crc)
    length += chunk.length
    yield chunk
  }
  const offset = feed.offset
  if (!(await feed.fill(TRAILER_SIZE))) throw refuse.truncated(offset + feed.buffered)
  const bytes = feed.view(TRAILER_SIZE)
  const trailer = new DataView(bytes.buffer, bytes.byteOffset)
  const [saysCrc, saysLength] = [trailer.getUint32(0, true), trailer.getUint32(4, true)]
  if (saysCrc !== crc) throw refuse.checksum(offset, 'CRC-32 of a member')
  // The field holds the length modulo 4 GiB only.
  if (saysLength !== length % 2 ** 32) throw refuse.sizeMismatch(saysLength, length)
  feed.advance(TRAILER_SIZE)
}

/**
 * Inflates a member that lies at hand and is small, as in files of thousands of members (bgzip).
 * @returns undefined where it does not, is not, or is damaged
 */
function inflateSmall(feed: ByteFeed): Uint8Array | undefined {
  try {
    const { buffer, engine } = inflateRawSync(feed.view(SMALL_INPUT), {
      info: true,
      maxOutputLength: SMALL_OUTPUT,
      chunkSize: SMALL_INPUT,
    }) as unknown as { buffer: Uint8Array; engine: { bytesWritten: number } }
    feed.advance(engine.bytesWritten)
    return buffer
  } catch {
    return undefined
  }
}

async function* inflateLarge(feed: ByteFeed): AsyncGenerator<Uint8Array, void, void> {
  const inflate = createInflateRaw({ chunkSize: CHUNK_SIZE })
  try {
    yield* runEngine(zlibEngine(inflate), async (engine) => {
      for (;;) {
        if (!(await feed.fill(1))) throw refuse.truncated(feed.offset)
        const piece = feed.view()
        const before = inflate.bytesWritten
        await engine.write(piece)
        const used = inflate.bytesWritten - before
        feed.advance(used)
        // What is not used lies behind the end of the deflate data.
        if (used < piece.length) return
      }
    })
  } catch (cause) {
    if (isZlibError(cause)) throw refuse.damaged(feed.offset, 'this is no deflate data', cause)
    throw cause
  }
}
