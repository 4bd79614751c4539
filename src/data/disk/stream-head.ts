import type { ByteStream } from '#base/bytes.ts'

/** A stream whose first bytes were looked at; they are handed out again. */
export interface PeekedStream {
  /** What was read so far, from the first byte on; a copy. */
  readonly head: Uint8Array
  /** Whether that is all there is. */
  readonly ended: boolean
  /** Reads on until `head` has `length` bytes or the stream ends. */
  more(length: number): Promise<PeekedStream>
  /** The whole stream from its first byte; may be asked for once, after the last `more`. */
  readonly stream: ByteStream
}

/**
 * Reads the first bytes of a stream without taking them from it.
 * @param length bytes wanted; fewer only where the stream is shorter
 */
export async function peek(input: ByteStream, length: number): Promise<PeekedStream> {
  return look(input[Symbol.asyncIterator](), [], length)
}

async function look(
  iterator: AsyncIterator<Uint8Array>,
  taken: Uint8Array[],
  length: number,
): Promise<PeekedStream> {
  const chunks = [...taken]
  let have = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  let ended = false
  while (have < length && !ended) {
    const { done, value } = await iterator.next()
    if (done) ended = true
    else {
      // The chunk's memory is used again, and this one is kept.
      chunks.push(value.slice())
      have += value.length
    }
  }
  return {
    head: Buffer.concat(chunks),
    ended,
    more: (wanted) => look(iterator, chunks, wanted),
    stream: replay(chunks, iterator),
  }
}

async function* replay(
  chunks: readonly Uint8Array[],
  iterator: AsyncIterator<Uint8Array>,
): ByteStream & AsyncGenerator<Uint8Array> {
  try {
    yield* chunks
    for (;;) {
      const { done, value } = await iterator.next()
      if (done) return
      yield value
    }
  } finally {
    await iterator.return?.()
  }
}
