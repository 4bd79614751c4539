import { printable } from './failure.ts'

/** What a cell can hold; null prints as nothing. */
export type Cell = string | number | boolean | null | undefined
export type Row = Readonly<Record<string, Cell>>

/** Ids are never cut: `img-xxxxx`. */
const ID_WIDTH = 9
const GAP = 2
const MIN_WIDTH = 3

const print = (cell: Cell): string => (cell === null || cell === undefined ? '' : printable(String(cell)))
const lengthOf = (text: string): number => [...text].length
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

function fit(text: string, width: number): string {
  const chars = [...text]
  if (chars.length <= width) return text + ' '.repeat(width - chars.length)
  return width < 5 ? chars.slice(0, width).join('') : `${chars.slice(0, width - 3).join('')}...`
}

/**
 * A table with a header and a rule above and below, cut to `width` columns as the official client cuts it; no rows
 * are an empty line. Where even three columns a field do not fit it becomes a vertical listing.
 * @returns the text, and a warning for stderr when the listing is vertical
 */
export function printTable(fields: readonly string[], rows: readonly Row[], width: number) {
  if (rows.length === 0) return { text: '\n', warning: undefined }
  const cells = rows.map((row) => fields.map((field) => print(row[field])))
  const lengths = fields.map((field, column) =>
    Math.max(lengthOf(field), ...cells.map((row) => lengthOf(row[column] ?? ''))),
  )
  const room = width - (fields.length * GAP + 1)
  if (fields.length > room / MIN_WIDTH) return printVertical(fields, cells)
  const widths = shareWidth(fields, lengths, room)
  const line = (texts: readonly string[]) =>
    ` ${texts.map((text, column) => fit(text, widths[column] ?? 0)).join('  ')}`
  const rule = `-${widths.map((columns) => '-'.repeat(columns)).join('--')}-`
  return {
    text: `${['', line(fields), rule, ...cells.map(line), rule, ''].join('\n')}\n`,
    warning: undefined,
  }
}

const fixId = (fields: readonly string[], widths: readonly number[]): number[] =>
  widths.map((width, column) => (fields[column] === 'id' ? ID_WIDTH : width))

/** How wide each column may be, by the rules of the official client: scripts cut columns at the same places. */
export function shareWidth(fields: readonly string[], lengths: readonly number[], room: number): number[] {
  const widths = fixId(fields, cutLong(lengths, room) ?? cutAll(lengths, room))
  let spare = room - sum(widths)
  const growing = widths.map((_, column) => column).filter((column) => lengths[column] !== widths[column])
  growing.sort((a, b) => ((fields[a] ?? '') < (fields[b] ?? '') ? -1 : 1))
  growing.forEach((column, position) => {
    const share = Math.floor(spare / (growing.length - position))
    const extra = Math.min((lengths[column] ?? 0) - (widths[column] ?? 0), share)
    widths[column] = (widths[column] ?? 0) + extra
    spare -= extra
  })
  return widths
}

/** Cuts columns longer than the average to a common width, until all fit. */
function cutLong(lengths: readonly number[], room: number): number[] | undefined {
  let widths = [...lengths]
  for (let total = sum(widths); total > room; total = sum(widths)) {
    const average = total / widths.length
    const long = widths.filter((width) => width > average)
    if (long.length === 0) return undefined
    const most = Math.floor((Math.floor(sum(long) / long.length) * room) / total)
    const next = widths.map((width) => Math.min(width, most))
    if (next.every((width, column) => width === widths[column])) return undefined
    widths = next
  }
  return widths
}

/** Cuts every column in proportion, or to the same width where that leaves one too narrow. */
function cutAll(lengths: readonly number[], room: number): number[] {
  const total = sum(lengths)
  const widths = lengths.map((length) => Math.trunc((length / total) * room))
  if (widths.every((width) => width > MIN_WIDTH) && sum(widths) <= room) return widths
  return lengths.map(() => Math.floor(room / lengths.length))
}

function printVertical(fields: readonly string[], rows: readonly (readonly string[])[]) {
  const longest = Math.max(...fields.map(lengthOf))
  const stars = '*'.repeat(Math.max(longest + Math.floor(longest / 2), 3))
  const text = rows
    .map((row, index) => {
      const lines = fields.map((field, column) => `${field.padStart(longest)}: ${row[column] ?? ''}`)
      return [`${stars} ${index + 1}. row ${stars}`, ...lines].join('\n')
    })
    .join('\n')
  return { text: `${text}\n`, warning: 'WARN: too many columns for this width, showing one value a line' }
}

/** One thing as `label: value` lines with labels to the right; an empty line after each when there are several. */
export function printShow(records: readonly (readonly (readonly [string, Cell])[])[]): string {
  const longest = Math.max(0, ...records.flatMap((record) => record.map(([label]) => lengthOf(label))))
  const gap = records.length > 1 ? '\n' : ''
  return records
    .map((record) => {
      const lines = record.map(([label, value]) => `${label.padStart(longest)}: ${print(value)}\n`)
      return lines.join('') + gap
    })
    .join('')
}

/** Rows without a header, their values between tabs. */
export const printSimple = (fields: readonly string[], rows: readonly Row[]): string =>
  rows.map((row) => `${fields.map((field) => print(row[field])).join('\t')}\n`).join('')

/** One thing as `label<TAB>value` lines. */
export const printSimpleShow = (records: readonly (readonly (readonly [string, Cell])[])[]): string =>
  records.flatMap((record) => record.map(([label, value]) => `${label}\t${print(value)}\n`)).join('')
