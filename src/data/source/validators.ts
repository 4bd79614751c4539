import type { ResponseHead } from './response-head.ts'

/** What a response says about the version of the file it serves. */
export interface Version {
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  /** What If-Range may carry; undefined where nothing tells two versions apart for sure. */
  readonly validator: string | undefined
  /** The content coding, which is none where the server names none. */
  readonly coding: string
}

/** RFC 9110 section 8.8.2.2: a date is a strong validator once it lies a minute back, for a clock counts in seconds. */
const SETTLED_MS = 60_000

/** @param now milliseconds since 1970, used where the server does not tell its own time */
export function versionOf(head: ResponseHead, now: number): Version {
  const etag = matching(head.header('etag'), /^(W\/)?"[\x21\x23-\x7e]{0,250}"$/)
  const lastModified = matching(head.header('last-modified'), /^[A-Za-z0-9,: +-]{1,40}$/)
  const isStrong = etag?.startsWith('"') === true
  const served = Date.parse(head.header('date') ?? '')
  const age = (Number.isNaN(served) ? now : served) - Date.parse(lastModified ?? '')
  const dated = age >= SETTLED_MS ? lastModified : undefined
  const coding = codingsOf(head).join()
  return { etag, lastModified, validator: isStrong ? etag : dated, coding }
}

/** The content codings of a body but for "identity", in the order in which they were applied. */
export function codingsOf(head: ResponseHead): string[] {
  const names = (head.header('content-encoding') ?? '').toLowerCase().split(',')
  return names.map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity')
}

function matching(value: string | undefined, pattern: RegExp): string | undefined {
  return value !== undefined && pattern.test(value) ? value : undefined
}

/**
 * Says whether a 206 belongs to the version that was begun. With an ETag to go by it must bring the same one
 * (RFC 9110 section 15.3.7); what else it brings must not differ.
 */
export function isSameVersion(begun: Version, resumed: Version): boolean {
  // A part need not name the coding again.
  if (resumed.coding !== '' && resumed.coding !== begun.coding) return false
  if (begun.validator !== undefined && begun.validator === begun.etag) return resumed.etag === begun.etag
  const agree = (a: string | undefined, b: string | undefined) =>
    a === undefined || b === undefined || a === b
  return agree(begun.etag, resumed.etag) && agree(begun.lastModified, resumed.lastModified)
}

export interface ContentRange {
  /** Undefined where no byte is sent: the range was past the end (416). */
  readonly start: number | undefined
  readonly end: number | undefined
  /** The size of the whole; undefined where the server does not know it. */
  readonly total: number | undefined
}

/** Reads `bytes 5-9/10` and the 416 answer's `bytes * / 10`; undefined for anything else. @see RFC 9110 section 14.4 */
export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const [, first, last, size] = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15}|\*)$/.exec(value ?? '') ?? []
  if (size === undefined) return undefined
  const start = first === undefined ? undefined : Number(first)
  const end = last === undefined ? undefined : Number(last) + 1
  if (start !== undefined && end !== undefined && end <= start) return undefined
  return { start, end, total: size === '*' ? undefined : Number(size) }
}

/** Reads Retry-After, seconds or a date, into milliseconds from now, up to a day. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), 24 * 3600_000)
}
