import type { IncomingHttpHeaders } from 'node:http'

export interface Validators {
  /** A strong entity tag, with its quotes. */
  readonly etag: string
  /** Milliseconds since 1970. */
  readonly lastModified?: number
}

/**
 * Evaluates the preconditions of a GET or HEAD in the order of RFC 9110 §13.2.2, except If-Range.
 * @returns the status that ends the request, or undefined to go on
 */
export function checkConditions(headers: IncomingHttpHeaders, { etag, lastModified }: Validators) {
  const ifMatch = headers['if-match']
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, etag, 'strong')) return 412
  } else if (isBefore(headers['if-unmodified-since'], lastModified)) return 412
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, etag, 'weak') ? 304 : undefined
  const since = dateOf(headers['if-modified-since'])
  if (since !== undefined && lastModified !== undefined && seconds(lastModified) <= seconds(since)) return 304
  return undefined
}

/** Says whether a Range header counts: it does not where If-Range names another version (RFC 9110 §13.1.5). */
export function rangeApplies(headers: IncomingHttpHeaders, { etag, lastModified }: Validators): boolean {
  const ifRange = headers['if-range']
  if (typeof ifRange !== 'string') return true
  if (ifRange.startsWith('"')) return ifRange === etag
  const date = dateOf(ifRange)
  return date !== undefined && lastModified !== undefined && seconds(date) === seconds(lastModified)
}

function matches(header: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (header.trim() === '*') return true
  const tags = header.match(/(?:W\/)?"[^"]*"/g) ?? []
  return tags.some((tag) => tag === etag || (comparison === 'weak' && tag === `W/${etag}`))
}

function isBefore(header: string | undefined, lastModified: number | undefined): boolean {
  const date = dateOf(header)
  return date !== undefined && lastModified !== undefined && seconds(lastModified) > seconds(date)
}

/** HTTP dates have whole seconds. */
const seconds = (ms: number): number => Math.floor(ms / 1000)

function dateOf(header: string | undefined): number | undefined {
  const ms = Date.parse(header ?? '')
  return Number.isNaN(ms) ? undefined : ms
}
