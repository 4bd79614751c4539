import type { ByteStream } from '#base/bytes.ts'
import { boundOutput, type DecodeOptions } from '../decode-options.ts'
import { decodeXzBlock } from './block.ts'
import { splitXz } from './split.ts'

/**
 * Decodes an xz file in order, on this thread, which others have a turn of after every 1 or 2 MiB. Chunks are 2 MiB at
 * most; memory is one and a half of the dictionary, 4 MiB more than it at least.
 * @throws Refusal: see `splitXz`; or the signal's reason
 */
export async function* decodeXz(
  input: ByteStream,
  options: Pick<DecodeOptions, 'limit' | 'xzDictionary' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  yield* boundOutput(decodeItems(input, options), options)
}

async function* decodeItems(
  input: ByteStream,
  options: Pick<DecodeOptions, 'limit' | 'xzDictionary' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const item of splitXz(input, { ...options, maxBufferedBlock: 0 })) {
    yield* item.kind === 'block' ? decodeXzBlock(item, options) : item.chunks
  }
}
