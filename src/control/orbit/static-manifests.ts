import { createHash } from 'node:crypto'
import type { Timestamp } from '#model/orbit.ts'
import { OrbitRefusal, type StaticEntry, type StaticSegmentRow } from './orbit.ts'

/** What a look at a segment found; the status line of a refusal where it may not be used. */
export type SegmentLook =
  | {
      readonly found: true
      readonly size: number
      readonly etag: string
      readonly contentType: string
      readonly modifiedAt: Timestamp
      /** It is a static large object itself. */
      readonly isStatic: boolean
    }
  | { readonly found: false; readonly status: string }

export interface ByteRange {
  readonly offset: number
  readonly length: number
}

type SegmentRow = Extract<StaticSegmentRow, { kind: 'segment' }>

/**
 * The rows to store for a client's entries.
 * @param looks one for each path that the entries name
 * @throws invalid with `problems` in Swift's words
 */
export function verifyEntries(
  entries: readonly StaticEntry[],
  looks: ReadonlyMap<string, SegmentLook>,
): StaticSegmentRow[] {
  const problems: [string, string][] = []
  const rows = entries.map((entry, index): StaticSegmentRow | undefined => {
    if (entry.kind === 'data') return entry
    const look = looks.get(entry.path) ?? { found: false, status: '404 Not Found' }
    const tell = (why: string) => void problems.push([quotePath(entry.path), why])
    if (look.found) return verifyEntry(entry, look, { last: index === entries.length - 1, tell })
    tell(look.status)
    return undefined
  })
  if (problems.length > 0)
    throw new OrbitRefusal('invalid', 'segments are not as they should be', { problems })
  return rows.filter((row) => row !== undefined)
}

function verifyEntry(
  entry: Extract<StaticEntry, { kind: 'segment' }>,
  look: Extract<SegmentLook, { found: true }>,
  { last, tell }: { last: boolean; tell: (why: string) => void },
): SegmentRow {
  const whole = { offset: 0, length: look.size }
  const range = entry.range === undefined ? whole : resolveRange(entry.range, look.size)
  if (!range) tell('Unsatisfiable Range')
  if (range?.length === 0 && !last) tell('Too small; each segment must be at least 1 byte.')
  if (entry.size !== undefined && entry.size !== look.size) tell('Size Mismatch')
  if (entry.etag !== undefined && entry.etag !== look.etag) tell('Etag Mismatch')
  return {
    kind: 'segment',
    name: `/${entry.path.replace(/^\/+/, '')}`,
    bytes: look.size,
    hash: look.etag,
    contentType: look.contentType,
    modifiedAt: look.modifiedAt,
    // One that is all of the segment says nothing, and would only change the ETag.
    range: !range || range.length === look.size ? undefined : printRange(range),
    subSlo: look.isStatic,
  }
}

/** @param text `a-b`, `a-` or `-n` @returns undefined where none of it lies in so many bytes */
export function resolveRange(text: string, size: number): ByteRange | undefined {
  const [, first = '', last = ''] = /^(\d*)-(\d*)$/.exec(text) ?? []
  if (first === '') {
    const length = Math.min(Number(last), size)
    return Number(last) === 0 ? undefined : { offset: size - length, length }
  }
  const offset = Number(first)
  const end = last === '' ? size : Math.min(Number(last) + 1, size)
  return offset < end ? { offset, length: end - offset } : undefined
}

const printRange = ({ offset, length }: ByteRange): string => `${offset}-${offset + length - 1}`

/** The bytes of its segment that a row stands for. */
export function rangeOfRow(row: SegmentRow): ByteRange {
  const range =
    row.range === undefined ? { offset: 0, length: row.bytes } : resolveRange(row.range, row.bytes)
  if (!range) throw new Error(`internal error: stored range ${row.range} of ${row.bytes} bytes`)
  return range
}

export const lengthOfRow = (row: StaticSegmentRow): number =>
  row.kind === 'data' ? row.bytes.length : rangeOfRow(row).length

/** MD5 over what names the bytes of each row: 32 hex digits. */
export function etagOfRows(rows: readonly StaticSegmentRow[]): string {
  const hash = createHash('md5')
  for (const row of rows) {
    if (row.kind === 'data') hash.update(createHash('md5').update(row.bytes).digest('hex'))
    else hash.update(row.range === undefined ? row.hash : `${row.hash}:${row.range};`)
  }
  return hash.digest('hex')
}

/** The manifest as it is stored and as `?multipart-manifest=get` shows it: Swift's JSON. */
export function printManifest(rows: readonly StaticSegmentRow[]): string {
  return JSON.stringify(
    rows.map((row) =>
      row.kind === 'data'
        ? { data: Buffer.from(row.bytes).toString('base64') }
        : {
            name: row.name,
            bytes: row.bytes,
            hash: row.hash,
            content_type: row.contentType,
            last_modified: printTimestamp(row.modifiedAt),
            ...(row.range === undefined ? {} : { range: row.range }),
            ...(row.subSlo ? { sub_slo: true } : {}),
          },
    ),
  )
}

interface StoredRow {
  readonly data?: string
  readonly name: string
  readonly bytes: number
  readonly hash: string
  readonly content_type: string
  readonly last_modified: string
  readonly range?: string
  readonly sub_slo?: true
}

/** Reads what `printManifest` made. */
export function parseManifest(text: string): StaticSegmentRow[] {
  const stored = JSON.parse(text) as StoredRow[]
  return stored.map((row) =>
    row.data === undefined
      ? {
          kind: 'segment',
          name: row.name,
          bytes: row.bytes,
          hash: row.hash,
          contentType: row.content_type,
          modifiedAt: parseTimestamp(row.last_modified),
          range: row.range,
          subSlo: row.sub_slo === true,
        }
      : { kind: 'data', bytes: Buffer.from(row.data, 'base64') },
  )
}

/** `2026-11-23T03:43:47.213490`: microseconds, and no zone. */
function printTimestamp(timestamp: Timestamp): string {
  const seconds = new Date(Math.floor(timestamp / 1_000_000) * 1000).toISOString().slice(0, 19)
  return `${seconds}.${String(timestamp % 1_000_000).padStart(6, '0')}`
}

const parseTimestamp = (text: string): Timestamp =>
  Date.parse(`${text.slice(0, 19)}Z`) * 1000 + Number(text.slice(20))

/** As Swift shows paths in lists of problems. */
export function quotePath(path: string): string {
  const percent = (letter: string) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`
  return encodeURIComponent(path.toWellFormed())
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, percent)
}
