import { assert } from '#base/errors.ts'

/** A run of a form's bytes that is made, or fetched and checked, in one go. */
export interface Piece {
  readonly offset: number
  readonly length: number
  load(): Uint8Array | Promise<Uint8Array>
}

/** A file whose pieces are known before any is loaded. */
export interface Layout {
  /** Bytes, exactly. */
  readonly size: number
  /** From the piece that holds `from` to the end, ascending and without gaps. They hold nothing that must be closed. */
  pieces(from: number): AsyncIterable<Piece>
}

/** Settles as `work` does, or rejects with the signal's reason as soon as it is aborted. */
export async function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** The same items, but a wait for one ends as soon as the signal is aborted. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]()
  for (;;) {
    const { done, value } = await orAbort(iterator.next(), signal)
    if (done) return
    yield value
  }
}

/**
 * Yields the bytes of a range, one piece after another. The next piece is loading while one is handed out, so two are
 * in memory at a time.
 */
export async function* readPieces(
  layout: Layout,
  offset: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  checkRange(offset, length, layout.size)
  if (length === 0) return
  const end = offset + length
  const finish = async ({ piece, bytes }: { piece: Piece; bytes: Promise<Uint8Array> }) => {
    const from = Math.max(0, offset - piece.offset)
    return (await orAbort(bytes, signal)).subarray(from, Math.min(piece.length, end - piece.offset))
  }
  let ahead: { piece: Piece; bytes: Promise<Uint8Array> } | undefined
  for await (const piece of untilAborted(layout.pieces(offset), signal)) {
    if (piece.offset >= end) break
    const bytes = (async () => piece.load())()
    // The reader may leave before it asks for this piece, and then nobody would hear of the failure.
    bytes.catch(() => undefined)
    if (ahead) yield await finish(ahead)
    ahead = { piece, bytes }
  }
  if (ahead) yield await finish(ahead)
}

/** A range outside of what is read is a bug: whoever takes ranges from strangers knows the size. */
function checkRange(offset: number, length: number, size: number): void {
  const fits = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0
  assert(fits && offset + length <= size, `range ${offset}+${length} of ${size} bytes`)
}
