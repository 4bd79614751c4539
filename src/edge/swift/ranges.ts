import type { ByteRange } from '#edge/http/ranges.ts'

/** Swift's guards against requests that cost much more than they say (RFC 9110, section 17.15). */
const MAX_RANGES = 50
const MAX_OVERLAPS = 2
const MAX_UNORDERED = 7

/**
 * Reads a Range header by Swift's rules.
 * @param size bytes of the whole
 * @returns the ranges that lie in it, in the order asked for; `all` where there is no range or a malformed one
 */
export function readRanges(header: string | undefined, size: number): ByteRange[] | 'all' | 'unsatisfiable' {
  const list = /^bytes=(.*)$/i.exec(header?.replaceAll(' ', '') ?? '')?.[1]
  if (list === undefined) return 'all'
  const ranges: ByteRange[] = []
  for (const text of list.split(',')) {
    const [, first, last] = /^(\d*)-(\d*)$/.exec(text) ?? []
    if (first === undefined || last === undefined || (first === '' && last === '')) return 'all'
    if (first !== '' && last !== '' && Number(last) < Number(first)) return 'all'
    const offset = first === '' ? Math.max(size - Number(last), 0) : Number(first)
    const end = first === '' || last === '' ? size : Math.min(Number(last) + 1, size)
    // The end of nothing is all of it.
    if (offset < end || (size === 0 && first === '' && Number(last) > 0)) {
      ranges.push({ offset, length: end - offset })
    }
  }
  if (ranges.length === 0 || isCostly(ranges)) return 'unsatisfiable'
  return size === 0 ? 'all' : ranges
}

function isCostly(ranges: readonly ByteRange[]): boolean {
  if (ranges.length > MAX_RANGES) return true
  const isOrdered = ranges.every(({ offset }, index) => offset >= (ranges[index - 1]?.offset ?? 0))
  if (!isOrdered && ranges.length > MAX_UNORDERED) return true
  let overlaps = 0
  for (const [index, one] of ranges.entries()) {
    for (const other of ranges.slice(index + 1)) if (overlap(one, other)) overlaps += 1
  }
  return overlaps > MAX_OVERLAPS
}

const overlap = (one: ByteRange, other: ByteRange): boolean =>
  one.offset < other.offset + other.length && other.offset < one.offset + one.length
