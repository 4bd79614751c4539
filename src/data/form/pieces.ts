import { assert } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'

/** Bytes on loan: once disposed of, which may happen twice, their memory holds something else. */
export interface LentBytes extends Disposable {
  readonly bytes: Uint8Array
}

export type Loaded = Uint8Array | LentBytes

export const bytesOf = (loaded: Loaded): Uint8Array => (loaded instanceof Uint8Array ? loaded : loaded.bytes)

/** Gives back what was lent. */
export function letGo(loaded: Loaded): void {
  if (!(loaded instanceof Uint8Array)) loaded[Symbol.dispose]()
}

/** Bytes `from` to `to` of what was loaded, on the same terms. */
export function partOf(loaded: Loaded, from: number, to: number): Loaded {
  if (loaded instanceof Uint8Array) return loaded.subarray(from, to)
  return { bytes: loaded.bytes.subarray(from, to), [Symbol.dispose]: () => loaded[Symbol.dispose]() }
}

/** A run of a form's bytes that is made, or fetched and checked, in one go. */
export interface Piece {
  readonly offset: number
  readonly length: number
  load(signal: AbortSignal): Loaded | Promise<Loaded>
}

/** A file whose pieces are known before any is loaded. */
export interface Layout {
  /** Bytes, exactly. */
  readonly size: number
  /**
   * From the piece that holds `from` to the end, ascending and without gaps. A piece may be loaded after the next is
   * known.
   */
  pieces(from: number): AsyncIterable<Piece>
}

/** The same items, but a wait for one ends as soon as the signal is aborted. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]()
  try {
    for (;;) {
      const { done, value } = await orAbort(iterator.next(), signal)
      if (done) return
      yield value
    }
  } finally {
    // Not waited for: the item that was asked for last may never come.
    iterator.return?.().catch(() => {})
  }
}

/** A piece that is loading, and is let go of whether or not anybody waits for it. */
class Loading implements Disposable {
  readonly #piece: Piece
  readonly #signal: AbortSignal
  readonly #loaded: Promise<Loaded>

  constructor(piece: Piece, signal: AbortSignal) {
    this.#piece = piece
    this.#signal = signal
    this.#loaded = (async () => piece.load(signal))()
    // The reader may leave before it asks for this piece, and then nobody would hear of the failure.
    this.#loaded.catch(() => {})
  }

  /** The bytes of the piece that lie in a range of the file. */
  async within(offset: number, end: number): Promise<Uint8Array> {
    const bytes = bytesOf(await orAbort(this.#loaded, this.#signal))
    const { offset: start, length } = this.#piece
    return bytes.subarray(Math.max(0, offset - start), Math.min(length, end - start))
  }

  [Symbol.dispose](): void {
    this.#loaded.then(letGo, () => {})
  }
}

/**
 * Yields the bytes of a range, one piece after another, each valid until the next is asked for. The next piece is
 * loading while one is handed out, so two are in memory at a time.
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
  let ahead: Loading | undefined
  try {
    for await (const piece of untilAborted(layout.pieces(offset), signal)) {
      using current = ahead
      ahead = new Loading(piece, signal)
      if (current) yield await current.within(offset, end)
      // What lies behind is not even looked at.
      if (piece.offset + piece.length >= end) break
    }
    if (ahead) yield await ahead.within(offset, end)
  } finally {
    ahead?.[Symbol.dispose]()
  }
}

/** A range outside of what is read is a bug: whoever takes ranges from strangers knows the size. */
function checkRange(offset: number, length: number, size: number): void {
  const fits = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0
  assert(fits && offset + length <= size, `range ${offset}+${length} of ${size} bytes`)
}
