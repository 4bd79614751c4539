import type { StaticEntry } from '#control/orbit/orbit.ts'
import { SwiftProblem } from './reply.ts'

/** Bytes of a list of segments. */
export const MAX_MANIFEST_SIZE = 8 * 1024 * 1024
/** Segments that are objects. */
export const MAX_SEGMENTS = 1000
/** Segments of any kind: each is looked at whenever the object is read. */
const MAX_ENTRIES = 10 * MAX_SEGMENTS

const KEYS = ['path', 'etag', 'size_bytes', 'range', 'data']

/** What is wrong with one entry, in Swift's words. */
class Flaw extends Error {}

/**
 * Reads the body of a PUT with `?multipart-manifest=put`.
 * @param own path of the object that is made, `/container/object`, which cannot be a part of itself
 * @throws SwiftProblem 400 with a line for each entry that is not right, 413 for too many
 */
export function parseEntries(body: Buffer, own: string): StaticEntry[] {
  const list = parseJson(body)
  if (!Array.isArray(list)) throw new SwiftProblem(400, 'Manifest must be a list.\n')
  if (list.filter((entry) => !isInline(entry)).length > MAX_SEGMENTS) {
    throw new SwiftProblem(413, `Number of object-backed segments must be <= ${MAX_SEGMENTS}`)
  }
  if (list.length > MAX_ENTRIES) throw new SwiftProblem(413, `Number of segments must be <= ${MAX_ENTRIES}`)
  const flaws: string[] = []
  const entries = list.flatMap((value: unknown, index) => {
    try {
      return [parseEntry(value, { own, isLast: index === list.length - 1 })]
    } catch (error) {
      if (!(error instanceof Flaw)) throw error
      flaws.push(`Index ${index}: ${error.message}`)
      return []
    }
  })
  if (list.length > 0 && list.every(isInline)) {
    flaws.push('Inline data segments require at least one object-backed segment.')
  }
  if (flaws.length > 0) throw new SwiftProblem(400, flaws.map((flaw) => `${flaw}\n`).join(''))
  return entries
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    throw new SwiftProblem(400, 'Manifest must be valid JSON.\n')
  }
}

const isInline = (value: unknown): boolean => typeof value === 'object' && value !== null && 'data' in value

function parseEntry(value: unknown, place: { own: string; isLast: boolean }): StaticEntry {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Flaw('not a JSON object')
  const entry: Readonly<Record<string, unknown>> = Object.fromEntries(Object.entries(value))
  if (entry.path === undefined && entry.data === undefined) {
    throw new Flaw('expected keys to include one of "path" or "data"')
  }
  const known = entry.data === undefined ? KEYS.filter((key) => key !== 'data') : ['data']
  const unknown = Object.keys(entry).filter((key) => !known.includes(key))
  if (unknown.length > 0) {
    const names = unknown.sort().map((key) => `"${key}"`)
    throw new Flaw(`extraneous keys ${names.join(', ')}`)
  }
  return entry.data === undefined
    ? parseSegment(entry, place)
    : { kind: 'data', bytes: parseData(entry.data) }
}

function parseData(data: unknown): Uint8Array {
  const letters = typeof data === 'string' ? data.replace(/\s/g, '') : '-'
  const isBase64 = /^[A-Za-z\d+/]*={0,2}$/.test(letters) && letters.length % 4 === 0
  if (!isBase64) throw new Flaw('data must be valid base64')
  if (letters === '') throw new Flaw('too small; each segment must be at least 1 byte.')
  return Buffer.from(letters, 'base64')
}

function parseSegment(
  { path, etag, size_bytes: bytes, range }: Readonly<Record<string, unknown>>,
  { own, isLast }: { own: string; isLast: boolean },
): StaticEntry {
  if (typeof path !== 'string') throw new Flaw('"path" must be a string')
  if (etag !== undefined && etag !== null && typeof etag !== 'string') {
    throw new Flaw('"etag" must be a string or null (if provided)')
  }
  if (!/^\/*[^/]+\/.*[^/]/s.test(path) || path.includes('\0')) {
    throw new Flaw('path does not refer to an object. Path must be of the form /container/object.')
  }
  if (`/${path.replace(/^\/+/, '')}` === own) throw new Flaw('manifest must not include itself as a segment')
  const size = parseSize(bytes)
  if (size !== undefined && size < 1 && !isLast) {
    throw new Flaw('too small; each segment must be at least 1 byte.')
  }
  const part = parseRange(range, size)
  return {
    kind: 'segment',
    path,
    ...(typeof etag === 'string' ? { etag: etag.replace(/^"|"$/g, '') } : {}),
    ...(size === undefined ? {} : { size }),
    ...(part === undefined ? {} : { range: part }),
  }
}

function parseSize(bytes: unknown): number | undefined {
  if (bytes === undefined || bytes === null) return undefined
  const size = typeof bytes === 'string' && /^\s*\d{1,15}\s*$/.test(bytes) ? Number(bytes) : bytes
  if (typeof size !== 'number' || !Number.isSafeInteger(size)) throw new Flaw('invalid size_bytes')
  return size
}

function parseRange(range: unknown, size: number | undefined): string | undefined {
  if (range === undefined || range === null || range === '') return undefined
  const text = typeof range === 'string' ? range.replaceAll(' ', '') : ''
  if (text.includes(',')) throw new Flaw('multiple ranges (only one allowed)')
  const [, first = '', last = ''] = /^(\d{0,15})-(\d{0,15})$/.exec(text) ?? []
  if (first + last === '' || (first !== '' && last !== '' && Number(last) < Number(first))) {
    throw new Flaw('invalid range')
  }
  const isPast = size !== undefined && (first === '' ? Number(last) === 0 : Number(first) >= size)
  if (isPast) throw new Flaw('unsatisfiable range')
  return text
}
