import type { Part } from '#base/content.ts'
import { assert, LibraryError } from '#base/errors.ts'
import { type Layout, type Piece, partOf, readPieces } from '#data/form/pieces.ts'
import type { ContentReader } from './content.ts'
import { OpenForms, type OpenStored } from './open-forms.ts'

/** Reads parts one behind the other; each manifest is opened when its first byte is near. */
export function openParts(parts: readonly Part[], openStored: OpenStored): ContentReader {
  const starts: number[] = []
  let size = 0
  for (const part of parts) {
    checkPart(part)
    starts.push(size)
    size += part.length
  }
  const forms = new OpenForms(openStored)
  const layout: Layout = {
    size,
    async *pieces(from) {
      for (let index = findPart(starts, from); index < parts.length; index++) {
        const [part, start] = [parts[index], starts[index] ?? 0]
        if (part && part.length > 0) yield* piecesOf(part, start, Math.max(0, from - start), forms)
      }
    },
  }
  return {
    size,
    read: (offset, length, signal) => readPieces(layout, offset, length, signal),
    [Symbol.asyncDispose]: () => forms[Symbol.asyncDispose](),
  }
}

/** @param start where the part begins; @param from the first byte of it that is wanted */
async function* piecesOf(part: Part, start: number, from: number, forms: OpenForms): AsyncGenerator<Piece> {
  const { content, length } = part
  const whole = (load: Piece['load']): Piece => ({ offset: start, length, load })
  if (!content) {
    yield whole(() => Promise.reject(new LibraryError('conflict', part.why)))
  } else if (content.kind === 'inline') {
    yield whole(() => content.bytes.subarray(part.offset, part.offset + length))
  } else {
    await using form = new AsyncDisposableStack()
    let layout: Layout
    try {
      layout = form.use(await forms.use(content)).layout
    } catch (error) {
      // What lies before it can be read all the same.
      yield whole(() => Promise.reject(error))
      return
    }
    yield* cut(layout, part.offset, length, { start, from })
  }
}

/** The pieces of a range of a file, as they lie where the range begins at `start`. */
async function* cut(
  layout: Layout,
  offset: number,
  length: number,
  { start, from }: { start: number; from: number },
): AsyncGenerator<Piece> {
  const end = offset + length
  for await (const piece of layout.pieces(offset + from)) {
    const first = Math.max(offset, piece.offset)
    const last = Math.min(end, piece.offset + piece.length)
    const load = async (signal: AbortSignal) =>
      partOf(await piece.load(signal), first - piece.offset, last - piece.offset)
    yield { offset: start + first - offset, length: last - first, load }
    if (last === end) return
  }
}

function checkPart(part: Part): void {
  if (!part.content) return
  const size = part.content.kind === 'inline' ? part.content.bytes.length : part.content.size
  const fits = part.offset >= 0 && part.length >= 0 && part.offset + part.length <= size
  assert(fits, `part ${part.offset}+${part.length} of ${size} bytes`)
}

/** The last part that begins at `from` or before. */
function findPart(starts: readonly number[], from: number): number {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((starts[middle] ?? 0) <= from) low = middle
    else high = middle - 1
  }
  return low
}
