import type { ByteStream } from '#base/bytes.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import type { DecodeOptions } from '#data/format/decode-options.ts'
import { HEAD_SIZE } from '#data/format/probe.ts'
import { tooLarge } from '#data/format/stream-refusals.ts'
import { decodeXzBlock } from '#data/format/xz/block.ts'
import { decodeXzItems } from '#data/format/xz/decode.ts'
import { splitXz, type XzItem } from '#data/format/xz/split.ts'
import type { DiskCutter } from './disk-cutter.ts'
import type { IngestContext, Layer } from './ingest-context.ts'
import { peek } from './stream-head.ts'

/**
 * Opens an xz stream so that it can be read either in order or, where its blocks say how long they are, by whole
 * blocks that are decoded side by side.
 */
export async function openXz(input: ByteStream, options: DecodeOptions): Promise<Layer> {
  const items = splitXz(input, options)[Symbol.asyncIterator]()
  const { value: first, done } = await items.next()
  const stream = decodeXzItems(chain(done ? [] : [first], items), options)
  if (done || first.kind !== 'block' || first.uncompressedSize < HEAD_SIZE) return peek(stream, HEAD_SIZE)
  // Only its beginning is decoded here, to tell what it is.
  const { head, stream: rest } = await peek(decodeXzBlock(first, options), HEAD_SIZE)
  await rest[Symbol.asyncIterator]().return?.(undefined)
  return { head, stream, xzItems: chain([first], items) }
}

/**
 * Stores a raw disk that comes in xz blocks: those that begin and end at our own block borders are decoded by the
 * workers side by side, the others here, in order.
 */
export async function storeXzItems(
  items: AsyncIterable<XzItem>,
  cutter: DiskCutter,
  { limits, pipeline, signal }: IngestContext,
): Promise<void> {
  const options: DecodeOptions = { ...limits, limit: limits.virtualSize, signal }
  let tail: { end: number; bytes: Uint8Array } = { end: 0, bytes: new Uint8Array(0) }
  for await (const item of items) {
    const offset = cutter.position
    if (item.kind === 'block' && cutter.atBlockBorder && item.uncompressedSize % BLOCK_SIZE === 0) {
      const end = offset + item.uncompressedSize
      if (end > limits.virtualSize) throw tooLarge(limits.virtualSize)
      const { bytes, check, uncompressedSize } = item
      await pipeline.submitXz({ kind: 'xz', offset, bytes, check, uncompressedSize }, (result) => {
        if (result.tail && end > tail.end) tail = { end, bytes: result.tail }
      })
      cutter.skip(uncompressedSize)
    } else {
      for await (const chunk of item.kind === 'block' ? decodeXzBlock(item, options) : item.chunks) {
        if (cutter.position + chunk.length > limits.virtualSize) throw tooLarge(limits.virtualSize)
        await cutter.write(chunk)
      }
    }
  }
  await pipeline.drain()
  if (tail.end === cutter.position) cutter.tail = tail.bytes
}

async function* chain<T>(first: readonly T[], rest: AsyncIterator<T>): AsyncGenerator<T, void, undefined> {
  try {
    yield* first
    for (;;) {
      const { done, value } = await rest.next()
      if (done) return
      yield value
    }
  } finally {
    await rest.return?.()
  }
}
