import type { ContainerRow, ListQuery, ObjectRow } from '#control/orbit/orbit.ts'
import { type Exchange, type Headers, headerOf } from './exchange.ts'
import { isTrue } from './metadata.ts'
import { holdText } from './receive-body.ts'
import { SwiftProblem, sendBytes } from './reply.ts'
import { printIsoDate } from './times.ts'

export const LISTING_LIMIT = 10_000

export type ListingType = 'text/plain' | 'application/json' | 'application/xml' | 'text/xml'

const TYPES: readonly ListingType[] = ['text/plain', 'application/json', 'application/xml', 'text/xml']
const FORMATS: ReadonlyMap<string, ListingType> = new Map([
  ['json', 'application/json'],
  ['xml', 'application/xml'],
])

/** Reads what a listing is to have. @throws SwiftProblem 412 for more than Swift's page */
export function readListQuery({ query, path }: Exchange): ListQuery {
  const given = query.get('limit') ?? ''
  const limit = /^\d+$/.test(given) ? Number(given) : LISTING_LIMIT
  if (limit > LISTING_LIMIT) throw new SwiftProblem(412, `Maximum limit is ${LISTING_LIMIT}`)
  const text = (name: string, key: string) => {
    const value = query.get(name)
    return value ? { [key]: value } : {}
  }
  const ofPath = path.container === undefined ? undefined : query.get('path')
  return {
    limit,
    reverse: isTrue(query.get('reverse')),
    ...text('marker', 'marker'),
    ...text('end_marker', 'endMarker'),
    ...text('prefix', 'prefix'),
    ...text('delimiter', 'delimiter'),
    ...(ofPath === undefined ? {} : { path: ofPath }),
  }
}

/** The type that the client likes best. @throws SwiftProblem 400, 406 */
export function chooseType(exchange: Exchange): ListingType {
  const format = exchange.query.get('format')
  if (format) return FORMATS.get(format.toLowerCase()) ?? 'text/plain'
  const type = bestType(headerOf(exchange, 'accept'))
  if (!type) throw new SwiftProblem(406)
  return type
}

/**
 * Reads an Accept header as Swift does: by quality, then whole types before patterns, then the order of the header.
 * @returns undefined where none of our types is liked
 * @throws SwiftProblem 400
 */
export function bestType(accept: string | undefined): ListingType | undefined {
  if (!accept?.trim()) return 'text/plain'
  const liked = accept.split(',').map((text) => {
    const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
    const quality = parameters
      .map((parameter) => /^q\s*=\s*(\d*(?:\.\d*)?)$/.exec(parameter)?.[1])
      .find(Boolean)
    if (!/^[^\s/]+\/[^\s/]+$/.test(type)) throw new SwiftProblem(400, 'Invalid Accept header')
    return { type, quality: Number(quality ?? 1) }
  })
  liked.sort((a, b) => b.quality - a.quality || Number(a.type.includes('*')) - Number(b.type.includes('*')))
  for (const { type, quality } of liked) {
    const [main, sub] = type.split('/')
    const found = TYPES.find((ours) => {
      const [ourMain, ourSub] = ours.split('/')
      return (main === '*' || main === ourMain) && (sub === '*' || sub === ourSub)
    })
    if (found && quality > 0) return found
  }
  return undefined
}

/** Headers that say what was negotiated. */
export function typeHeaders(exchange: Exchange, type: ListingType): Headers {
  const headers: Headers = { 'Content-Type': `${type}; charset=utf-8`, 'Accept-Ranges': 'bytes' }
  if (!exchange.query.get('format')) headers.Vary = 'Accept'
  return headers
}

/** Answers with rows in the type that was chosen. */
export function sendListing(
  exchange: Exchange,
  headers: Headers,
  type: ListingType,
  rows: readonly (ContainerRow | ObjectRow)[],
): void {
  const { path } = exchange
  const text =
    type === 'text/plain'
      ? printPlain(rows)
      : type === 'application/json'
        ? printJson(rows)
        : path.container === undefined
          ? printAccountXml(path.account, rows)
          : printContainerXml(path.container, rows)
  const body = Buffer.from(text)
  // A client may take it as slowly as it likes.
  holdText(exchange).add(body.length)
  sendBytes(exchange, body.length === 0 ? 204 : 200, headers, body)
}

function printPlain(rows: readonly { readonly name: string }[]): string {
  let text = ''
  for (const { name } of rows) text += `${name}\n`
  return text
}

function printJson(rows: readonly (ContainerRow | ObjectRow)[]): string {
  let text = ''
  for (const row of rows) text += `${text === '' ? '[' : ', '}${jsonOf(row)}`
  return text === '' ? '[]' : `${text}]`
}

function jsonOf(row: ContainerRow | ObjectRow): string {
  const name = JSON.stringify(row.name)
  if (row.kind === 'subdir') return `{"subdir": ${name}}`
  const date = printIsoDate(row.modifiedAt)
  if (row.kind === 'container') {
    return `{"name": ${name}, "count": ${row.count}, "bytes": ${row.bytes}, "last_modified": "${date}"}`
  }
  const slo = row.sloEtag === undefined ? '' : `, "slo_etag": "\\"${row.sloEtag}\\""`
  const type = JSON.stringify(utf8Of(row.contentType))
  const facts = `"hash": "${row.hash}", "bytes": ${row.bytes}, "content_type": ${type}`
  return `{"name": ${name}, ${facts}, "last_modified": "${date}"${slo}}`
}

/** Values of headers have one character a byte. */
export const utf8Of = (value: string): string =>
  /[^ -~]/.test(value) ? Buffer.from(value, 'latin1').toString() : value

const XML = '<?xml version="1.0" encoding="UTF-8"?>\n'

function printContainerXml(container: string, rows: readonly (ContainerRow | ObjectRow)[]): string {
  const title = `${XML}<container name=${attribute(container)}`
  if (rows.length === 0) return `${title} />`
  let text = `${title}>`
  for (const row of rows) {
    const name = element(row.name)
    if (row.kind === 'subdir') text += `<subdir name=${attribute(row.name)}><name>${name}</name></subdir>`
    else if (row.kind === 'object') {
      text +=
        `<object><name>${name}</name><hash>${row.hash}</hash><bytes>${row.bytes}</bytes>` +
        `<content_type>${element(utf8Of(row.contentType))}</content_type>` +
        `<last_modified>${printIsoDate(row.modifiedAt)}</last_modified></object>`
    }
  }
  return `${text}</container>`
}

function printAccountXml(account: string, rows: readonly (ContainerRow | ObjectRow)[]): string {
  let text = `${XML}<account name=${attribute(account)}>\n`
  for (const row of rows) {
    if (row.kind === 'subdir') text += `<subdir name=${attribute(row.name)} />\n`
    else if (row.kind === 'container') {
      text +=
        `<container><name>${element(row.name)}</name><count>${row.count}</count><bytes>${row.bytes}</bytes>` +
        `<last_modified>${printIsoDate(row.modifiedAt)}</last_modified></container>\n`
    }
  }
  return `${text}</account>`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\n': '&#10;',
  '\r': '&#13;',
  '\t': '&#9;',
}

/** What XML 1.0 has no way to write. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const UNWRITABLE = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g

/** Text between tags. */
export const element = (text: string): string =>
  /[^ !#-%'-;=?-~]/.test(text)
    ? text.replace(UNWRITABLE, '\ufffd').replace(/[&<>\r]/g, (char) => ENTITIES[char] ?? char)
    : text

const attribute = (text: string): string =>
  `"${text.replace(UNWRITABLE, '\ufffd').replace(/[&<>"\n\r\t]/g, (char) => ENTITIES[char] ?? char)}"`
