import { isUtf8 } from 'node:buffer'
import type { MetadataChange, ObjectAttributes } from '#control/orbit/orbit.ts'
import type { Metadata } from '#model/orbit.ts'
import { type Exchange, type Headers, headerOf } from './exchange.ts'
import { SwiftProblem } from './reply.ts'

/** Bytes of the value of one header. */
export const MAX_HEADER_VALUE = 8192

/** Bytes of a Content-Type: a listing has thousands of them. */
const MAX_TYPE = 1024

/** The headers of an object that are kept beside its type and its metadata. */
const KEPT = [
  'content-encoding',
  'content-disposition',
  'content-language',
  'cache-control',
  'expires',
  'x-robots-tag',
] as const

type Kind = 'account' | 'container' | 'object'

/** Metadata of a PUT or POST: as it came, or null where it is to go. */
export function readMetadataChange(exchange: Exchange, kind: 'account' | 'container'): MetadataChange {
  const change: Record<string, string | null> = Object.create(null)
  for (const name of readPrefixed(exchange, `x-remove-${kind}-meta-`).keys()) change[name] = null
  for (const [name, value] of readPrefixed(exchange, `x-${kind}-meta-`)) change[name] = value
  return change
}

/** The request's headers that begin so, repeated ones joined as Swift joins them; Node would add a space. */
function readPrefixed({ raw: { rawHeaders } }: Exchange, prefix: string): Map<string, string> {
  const found = new Map<string, string>()
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const header = rawHeaders[index] ?? ''
    const value = rawHeaders[index + 1] ?? ''
    // Lower case is made of those few only that may be meant.
    if (header.charCodeAt(0) !== 120 && header.charCodeAt(0) !== 88) continue
    const name = header.toLowerCase()
    if (value.length > MAX_HEADER_VALUE) {
      throw new SwiftProblem(400, `Header value too long: ${name.slice(0, 128)}`)
    }
    if (!name.startsWith(prefix)) continue
    const key = name.slice(prefix.length)
    const before = found.get(key)
    found.set(key, before === undefined ? value : `${before},${value}`)
  }
  return found
}

/** What a PUT, POST or COPY says of an object. @throws SwiftProblem 400 where it makes no sense */
export function readAttributes(exchange: Exchange): ObjectAttributes {
  const headers: Record<string, string> = {}
  for (const name of KEPT) {
    const value = headerOf(exchange, name) ?? ''
    if (value.length > MAX_HEADER_VALUE) throw new SwiftProblem(400, `Header value too long: ${name}`)
    if (value !== '') headers[name] = value
  }
  const contentType = readContentType(exchange)
  const deleteAt = readDeleteAt(exchange)
  const dynamicManifest = readDynamicManifest(exchange)
  return {
    headers,
    metadata: Object.fromEntries(readPrefixed(exchange, 'x-object-meta-')),
    ...(contentType === undefined ? {} : { contentType }),
    ...(deleteAt === undefined ? {} : { deleteAt }),
    ...(dynamicManifest === undefined ? {} : { dynamicManifest }),
  }
}

/** Whether a PUT is only for where no object is. @throws SwiftProblem 400 for any other condition */
export function readIfNoneMatch(exchange: Exchange): boolean {
  const value = headerOf(exchange, 'if-none-match')
  if (value !== undefined && value.trim() !== '*') {
    throw new SwiftProblem(400, 'If-None-Match only supports *')
  }
  return value !== undefined
}

function readContentType(exchange: Exchange): string | undefined {
  const value = headerOf(exchange, 'content-type')
  if (!value || isTrue(headerOf(exchange, 'x-detect-content-type'))) return undefined
  if (value.length > MAX_TYPE) throw new SwiftProblem(400, `Content-Type longer than ${MAX_TYPE}`)
  if (/;\s*swift_/i.test(value)) {
    throw new SwiftProblem(400, 'Invalid Content-Type, swift_* is not a valid parameter name.')
  }
  if (!isUtf8(Buffer.from(value, 'latin1'))) {
    throw new SwiftProblem(400, 'Please specify utf-8 encoded Content-Type')
  }
  return value
}

/** Swift's words for yes. */
export const isTrue = (text: string | undefined): boolean => /^(?:true|1|yes|on|t|y)$/i.test(text ?? '')

/** Beyond this Swift has no timestamps. */
const LAST_SECOND = 9_999_999_999

function readDeleteAt(exchange: Exchange): number | undefined {
  if (headerOf(exchange, 'x-remove-delete-at') !== undefined) return undefined
  const now = Math.floor(exchange.deps.now() / 1000)
  const after = headerOf(exchange, 'x-delete-after')
  const [name, text, base] =
    after === undefined
      ? ['X-Delete-At', headerOf(exchange, 'x-delete-at'), 0]
      : ['X-Delete-After', after, now]
  if (text === undefined) return undefined
  if (!/^[+-]?\d+$/.test(text.trim())) throw new SwiftProblem(400, `Non-integer ${name}`)
  const at = Math.min(base + Number(text), LAST_SECOND)
  if (at <= now) throw new SwiftProblem(400, `${name} in past`)
  return at
}

function readDynamicManifest(exchange: Exchange): string | undefined {
  const value = headerOf(exchange, 'x-object-manifest')
  if (!value) return undefined
  if (!/^[^/?&]+\/[^/?&][^?&]*$/.test(value)) {
    throw new SwiftProblem(400, 'X-Object-Manifest must be in the format container/prefix')
  }
  return value
}

/** Prints metadata as headers. */
export function printMetadata(kind: Kind, metadata: Metadata, headers: Headers): void {
  const prefix = `x-${kind}-meta-`
  for (const name of Object.keys(metadata)) headers[titleCase(prefix + name)] = metadata[name] ?? ''
}

/** Swift's way to write header names. */
export const titleCase = (name: string): string =>
  name.replace(/(^|[^a-z])([a-z])/g, (_, before: string, letter: string) => before + letter.toUpperCase())
