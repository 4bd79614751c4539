import { emptyImage, tooLarge } from './stream-refusals.ts'

/** What a decoder may spend; sizes in bytes. */
export interface DecodeOptions {
  /** The most that may come out. */
  readonly limit: number
  /** The largest dictionary of an xz block. */
  readonly xzDictionary: number
  /** The largest window of a zstd frame. */
  readonly zstdWindow: number
  /** Ends decoding, also a wait for input, with its reason. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Passes a decoder's output on, no more of it than the limit.
 * @throws too-large before the byte over the limit is handed out; empty where nothing came at all
 */
export async function* boundOutput(
  chunks: AsyncIterable<Uint8Array>,
  { limit, signal }: Pick<DecodeOptions, 'limit' | 'signal'>,
): AsyncGenerator<Uint8Array, void, void> {
  let total = 0
  for await (const chunk of chunks) {
    signal?.throwIfAborted()
    if (chunk.length === 0) continue
    total += chunk.length
    if (total > limit) throw tooLarge(limit)
    yield chunk
  }
  if (total === 0) throw emptyImage()
}
