/** A run of a form's bytes that is made, or fetched and checked, in one go. */
export interface Piece {
  readonly offset: number
  readonly length: number
  load(): Uint8Array | Promise<Uint8Array>
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

/**
 * Yields the bytes of `[offset, offset + length)`, one piece after another. The next piece is loading while one is
 * handed out, so two are in memory at a time.
 * @param pieces ascending and without gaps; the first holds `offset`
 */
export async function* readPieces(
  pieces: AsyncIterable<Piece>,
  offset: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const end = offset + length
  const finish = async ({ piece, bytes }: { piece: Piece; bytes: Promise<Uint8Array> }) => {
    const from = Math.max(0, offset - piece.offset)
    return (await orAbort(bytes, signal)).subarray(from, Math.min(piece.length, end - piece.offset))
  }
  let ahead: { piece: Piece; bytes: Promise<Uint8Array> } | undefined
  for await (const piece of pieces) {
    if (piece.offset >= end) break
    const bytes = (async () => piece.load())()
    // The reader may leave before it asks for this piece, and then nobody would hear of the failure.
    bytes.catch(() => undefined)
    const next = { piece, bytes }
    if (ahead) yield await finish(ahead)
    ahead = next
  }
  if (ahead) yield await finish(ahead)
}
