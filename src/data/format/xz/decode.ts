import type { ByteStream } from '#base/bytes.ts'
import { boundOutput, type DecodeOptions } from '../decode-options.ts'
import { decodeXzBlock } from './block.ts'
import { splitXz } from './split.ts'

/**
 * Decodes an xz file in order, on one thread besides this one. Chunks are 64 KiB at most; memory is the dictionary's
 * and a few MiB.
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
