/** A part of something: bytes `offset` up to, not with, `offset + length`. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** More ranges than this in one request are taken for an attack, and the header is ignored. */
const MAX_RANGES = 32

/**
 * Reads a Range header (RFC 9110 §14).
 * @param size bytes of the whole
 * @returns the ranges asked for, in that order; `all` where the header is absent, of another unit, malformed, or asks
 *   for more than the whole, all of which are to be ignored; `unsatisfiable` where every range lies past the end
 */
export function parseRanges(header: string | undefined, size: number): ByteRange[] | 'all' | 'unsatisfiable' {
  const list = /^bytes=(.*)$/i.exec(header?.trim() ?? '')?.[1]
  if (list === undefined) return 'all'
  const parts = list
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean)
  if (parts.length === 0 || parts.length > MAX_RANGES) return 'all'
  const ranges: ByteRange[] = []
  for (const part of parts) {
    const range = parseRange(part, size)
    if (range === 'malformed') return 'all'
    if (range) ranges.push(range)
  }
  if (ranges.length === 0) return 'unsatisfiable'
  const total = ranges.reduce((sum, range) => sum + range.length, 0)
  // Overlapping ranges could multiply what we send: who asks for more than all gets all, once.
  return ranges.length > 1 && total > size ? 'all' : ranges
}

/** One `first-last`, `first-` or `-suffix`; undefined where it lies past the end. */
function parseRange(text: string, size: number): ByteRange | undefined | 'malformed' {
  const match = /^(\d{0,15})-(\d{0,15})$/.exec(text)
  const [, first = '', last = ''] = match ?? []
  if (!match || (first === '' && last === '')) return 'malformed'
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? undefined : { offset: size - length, length }
  }
  const offset = Number(first)
  if (last !== '' && Number(last) < offset) return 'malformed'
  if (offset >= size) return undefined
  const end = last === '' ? size : Math.min(Number(last) + 1, size)
  return { offset, length: end - offset }
}

/** `bytes first-last/size`, as Content-Range has it. */
export const contentRange = ({ offset, length }: ByteRange, size: number): string =>
  `bytes ${offset}-${offset + length - 1}/${size}`

/** What a Content-Range header on a request says about the bytes that follow (RFC 9110 §14.5). */
export interface SentRange {
  readonly offset: number
  /** Bytes that the sender announces. */
  readonly length: number
  /** Bytes of the whole; undefined for `*`. */
  readonly total: number | undefined
}

/** @returns undefined where the header is malformed or contradicts itself */
export function parseContentRange(header: string): SentRange | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(header.trim())
  if (!match) return undefined
  const [offset, last] = [Number(match[1]), Number(match[2])]
  const total = match[3] === '*' ? undefined : Number(match[3])
  if (last < offset || (total !== undefined && last >= total)) return undefined
  return { offset, length: last - offset + 1, total }
}
