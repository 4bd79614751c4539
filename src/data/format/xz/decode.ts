import type { ByteStream } from '#base/bytes.ts'
import { boundOutput, type DecodeOptions } from '../decode-options.ts'
import { decodeXzBlock } from './block.ts'
import { splitXz, type XzItem } from './split.ts'

/**
 * Decodes an xz file in order, on this thread, which others have a turn of after every 1 or 2 MiB. Chunks are 2 MiB at
 * most; memory is one and a half of the dictionary, 4 MiB more than it at least.
 * @throws Refusal: see `splitXz`; or the signal's reason
 */
export async function* decodeXz(
  input: ByteStream,
  options: Pick<DecodeOptions, 'limit' | 'xzDictionary' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  const items = splitXz(input, { ...options, maxBufferedBlock: 0 })
  yield* boundOutput(decodeXzItems(items, options), options)
}

/** Decodes, in order and on this thread, what `splitXz` found; how much comes out is not bounded here. */
export async function* decodeXzItems(
  items: AsyncIterable<XzItem>,
  options: Pick<DecodeOptions, 'xzDictionary' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const item of items) {
    yield* item.kind === 'block' ? decodeXzBlock(item, options) : item.chunks
  }
}
