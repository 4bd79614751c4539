import { hash } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'

/** A row of any table, by its columns. */
export type Row = Readonly<Record<string, RowValue>>
export type RowValue = string | number | Uint8Array | null

/**
 * A row as one line of JSON without its end: the same whatever database it comes from, columns in the order of their
 * names, bytes as `{"base64": "…"}`.
 */
export function printRow(row: Row): string {
  const columns = Object.keys(row).sort()
  const printed = columns.map((column) => [column, printValue(row[column])])
  return JSON.stringify(Object.fromEntries(printed))
}

const printValue = (value: RowValue | undefined) =>
  value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value

/** @throws corrupt */
export function parseRow(line: string): Row {
  const row = parseObject(line)
  return Object.fromEntries(Object.entries(row).map(([column, value]) => [column, parseValue(value)]))
}

function parseObject(line: string): object {
  try {
    const parsed: unknown = JSON.parse(line)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed
  } catch (cause) {
    throw new LibraryError('corrupt', 'read a row: a line is no JSON', { cause })
  }
  throw new LibraryError('corrupt', 'read a row: a line is no object')
}

function parseValue(value: unknown): RowValue {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value
  if (typeof value === 'object' && 'base64' in value && typeof value.base64 === 'string')
    return new Uint8Array(Buffer.from(value.base64, 'base64'))
  throw new LibraryError('corrupt', 'read a row: a column is no text, number or bytes')
}

/** How many rows there were, and a sum of them in which their order does not count: equal where the rows are. */
export class RowSum {
  #rows = 0
  readonly #sum = Buffer.alloc(32)

  add(row: Row): void {
    this.#rows++
    const digest = hash('sha256', printRow(row), 'buffer')
    for (let at = 0; at < digest.length; at++) this.#sum[at] = (this.#sum[at] ?? 0) ^ (digest[at] ?? 0)
  }

  get rows(): number {
    return this.#rows
  }

  equals(other: RowSum): boolean {
    return this.#rows === other.#rows && this.#sum.equals(other.#sum)
  }
}
