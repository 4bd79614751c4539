import type { Timestamp } from '#model/orbit.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { lastModifiedSecond } from './times.ts'

export interface Validators {
  /** Without quotes. */
  readonly etag: string
  readonly modifiedAt: Timestamp
}

/** Evaluates the preconditions in Swift's order. @returns the status that ends the request, or undefined to go on */
export function checkConditions(exchange: Exchange, { etag, modifiedAt }: Validators): 304 | 412 | undefined {
  const noneMatch = headerOf(exchange, 'if-none-match')
  if (noneMatch !== undefined && matches(noneMatch, etag)) return 304
  const match = headerOf(exchange, 'if-match')
  if (match !== undefined && !matches(match, etag)) return 412
  const modified = lastModifiedSecond(modifiedAt)
  const since = secondOf(headerOf(exchange, 'if-modified-since'))
  if (since !== undefined && since >= modified) return 304
  const unmodifiedSince = secondOf(headerOf(exchange, 'if-unmodified-since'))
  return unmodifiedSince !== undefined && unmodifiedSince < modified ? 412 : undefined
}

/** Whether a request asks for anything that depends on what is there. */
export const hasConditions = (exchange: Exchange): boolean =>
  ['if-none-match', 'if-match', 'if-modified-since', 'if-unmodified-since', 'range'].some(
    (name) => headerOf(exchange, name) !== undefined,
  )

/** Tags may be bare or in quotes. */
function matches(header: string, etag: string): boolean {
  return header.split(',').some((text) => {
    const tag = text.trim()
    return tag === '*' || tag.replace(/^W\//, '').replace(/^"|"$/g, '') === etag
  })
}

/** The three forms of dates in HTTP (RFC 9110, section 5.6.7), the last of them without a zone. */
const HTTP_DATE = /^[a-z]{3,9},? .*\d\d:\d\d:\d\d.*$/i

/** @returns seconds since 1970; undefined for what is no date */
function secondOf(header: string | undefined): number | undefined {
  if (header === undefined || !HTTP_DATE.test(header)) return undefined
  const ms = Date.parse(/\d$/.test(header) ? `${header} GMT` : header)
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000)
}
