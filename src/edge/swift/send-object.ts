import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import type { Part } from '#base/content.ts'
import { assert } from '#base/errors.ts'
import type { LocatedObject, ObjectInfo } from '#control/orbit/orbit.ts'
import type { ContentReader } from '#data/content/content.ts'
import { closeSignal } from '#edge/http/close-signal.ts'
import { ClientGone } from '#edge/http/problems.ts'
import { type ByteRange, contentRange } from '#edge/http/ranges.ts'
import { checkConditions, type Validators } from './conditions.ts'
import { type Exchange, type Headers, headerOf } from './exchange.ts'
import { printMetadata, titleCase } from './metadata.ts'
import { readRanges } from './ranges.ts'
import { SwiftProblem, sendBytes, sendEmpty, sendPage, writeHead } from './reply.ts'
import { printHttpDate, printTimestamp } from './times.ts'

/** Everything that an answer says of an object, but its length. */
export function objectHeaders(info: ObjectInfo): Headers {
  const headers: Headers = {
    'Content-Type': info.contentType,
    Etag: etagOf(info),
    'Last-Modified': printHttpDate(info.modifiedAt),
    'X-Timestamp': printTimestamp(info.modifiedAt),
    'Accept-Ranges': 'bytes',
  }
  for (const name of Object.keys(info.headers)) headers[titleCase(name)] = info.headers[name] ?? ''
  printMetadata('object', info.metadata, headers)
  if (info.deleteAt !== undefined) headers['X-Delete-At'] = String(info.deleteAt)
  if (info.dynamicManifest !== undefined) headers['X-Object-Manifest'] = info.dynamicManifest
  if (info.large === 'static') headers['X-Static-Large-Object'] = 'True'
  if (info.manifestEtag !== undefined) headers['X-Manifest-Etag'] = info.manifestEtag
  return headers
}

/** Large objects have an ETag in quotes. */
export const etagOf = ({ etag, large }: Pick<ObjectInfo, 'etag' | 'large'>): string =>
  large === undefined ? etag : `"${etag}"`

/** Answers a GET or HEAD that its conditions end. @returns whether they do */
export function sendUnlessWanted(exchange: Exchange, validators: Validators, headers: Headers): boolean {
  const status = checkConditions(exchange, validators)
  if (status === undefined) return false
  if (status === 412) {
    headers['Content-Type'] = 'text/html; charset=UTF-8'
    delete headers['Accept-Ranges']
  }
  headers['Content-Length'] = '0'
  sendEmpty(exchange, status, headers)
  return true
}

/** Answers a HEAD of an object. */
export function sendObjectHead(exchange: Exchange, info: ObjectInfo, status = 200): void {
  const headers = objectHeaders(info)
  if (status === 200 && sendUnlessWanted(exchange, info, headers)) return
  headers['Content-Length'] = String(info.size)
  sendEmpty(exchange, status, headers)
}

/**
 * Answers a GET with an object or the ranges of it that were asked for.
 * @param status other than 200 where the object stands in for a page of errors: then it is sent whole
 */
export async function sendObject(exchange: Exchange, located: LocatedObject, status = 200): Promise<void> {
  const { info, parts } = located
  const headers = objectHeaders(info)
  if (status === 200 && sendUnlessWanted(exchange, info, headers)) return
  const ranges = status === 200 ? rangesOf(exchange, info) : 'all'
  if (ranges === 'unsatisfiable') {
    return sendPage(exchange, 416, { ...headers, 'Content-Range': `bytes */${info.size}` })
  }
  const [only, another] = ranges === 'all' ? [{ offset: 0, length: info.size }] : ranges
  assert(only, 'at least one range')
  if (another !== undefined && ranges !== 'all')
    return await sendMultipart(exchange, located, headers, ranges)
  if (ranges !== 'all') headers['Content-Range'] = contentRange(only, info.size)
  headers['Content-Length'] = String(only.length)
  const code = ranges === 'all' ? status : 206
  const bytes = bytesAtHand(parts, only)
  if (bytes) return sendBytes(exchange, code, headers, bytes)
  await stream(exchange, parts, code, headers, [{ range: only }])
}

function rangesOf(exchange: Exchange, { size, large }: ObjectInfo): ReturnType<typeof readRanges> {
  const ranges = readRanges(headerOf(exchange, 'range'), size)
  return large === 'dynamic' && ranges.length > 1 && Array.isArray(ranges) ? 'all' : ranges
}

/** Small objects are where they are named. */
function bytesAtHand(parts: readonly Part[], { offset, length }: ByteRange): Uint8Array | undefined {
  if (length === 0) return new Uint8Array()
  const [part] = parts
  if (parts.length !== 1 || part?.content === undefined || part.content.kind !== 'inline') return undefined
  return part.content.bytes.subarray(part.offset + offset, part.offset + offset + length)
}

type Segment =
  | { readonly range: ByteRange; readonly text?: never }
  | { readonly text: string; readonly range?: never }

/** Several ranges travel as multipart/byteranges, in the form that Swift gives it. */
function sendMultipart(
  exchange: Exchange,
  { info: { contentType, size }, parts }: LocatedObject,
  headers: Headers,
  ranges: readonly ByteRange[],
): Promise<void> {
  const boundary = randomBytes(16).toString('hex')
  const segments: Segment[] = ranges.flatMap((range) => [
    {
      text: `--${boundary}\r\nContent-Type: ${contentType}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`,
    },
    { range },
    { text: '\r\n' },
  ])
  segments.push({ text: `--${boundary}--` })
  const length = segments.reduce((sum, { range, text }) => sum + (range?.length ?? text?.length ?? 0), 0)
  headers['Content-Type'] = `multipart/byteranges;boundary=${boundary}`
  headers['Content-Length'] = String(length)
  return stream(exchange, parts, 206, headers, segments)
}

/** Nothing is sent before the first bytes are at hand, so that most faults can still be told with a status. */
async function stream(
  exchange: Exchange,
  parts: readonly Part[],
  status: number,
  headers: Headers,
  segments: readonly Segment[],
): Promise<void> {
  const { content } = exchange.deps
  const { response } = exchange
  const signal = closeSignal(response)
  const first = segments.find((segment) => segment.range)?.range
  assert(first, 'a range')
  if (isMissing(parts, first.offset)) throw new SwiftProblem(409)
  await using reader = await content.openReader(parts)
  const opened = await openRange(reader, first, signal)
  writeHead(exchange, status, headers)
  for (const { range, text } of segments) {
    if (text !== undefined) await write(response, Buffer.from(text, 'latin1'))
    else await writeRange(response, range === first ? opened : await openRange(reader, range, signal), signal)
  }
  response.end()
}

/** Whether a segment of a static large object is gone just where reading is to begin. */
function isMissing(parts: readonly Part[], offset: number): boolean {
  let end = 0
  const part = parts.find(({ length }) => {
    end += length
    return offset < end
  })
  return part !== undefined && part.content === undefined
}

/** Chunks. */
const IN_A_TURN = 32

interface OpenRange {
  readonly length: number
  readonly chunks: AsyncGenerator<Uint8Array>
  readonly first: IteratorResult<Uint8Array>
}

async function openRange(reader: ContentReader, range: ByteRange, signal: AbortSignal): Promise<OpenRange> {
  const chunks = reader.read(range.offset, range.length, signal)
  return { length: range.length, chunks, first: await chunks.next() }
}

async function writeRange(
  response: ServerResponse,
  { length, chunks, first }: OpenRange,
  signal: AbortSignal,
): Promise<void> {
  let sent = 0
  let count = 0
  try {
    for (let next = first; !next.done; next = await chunks.next()) {
      signal.throwIfAborted()
      // Where nothing has to be waited for, thousands of small segments would go out before anybody else has a turn.
      if (++count % IN_A_TURN === 0) await setImmediate()
      sent += next.value.length
      assert(sent <= length, `${sent} bytes for a range of ${length}`)
      await write(response, next.value)
    }
  } finally {
    await chunks.return(undefined)
  }
  assert(sent === length, `${sent} bytes for a range of ${length}`)
}

/** Resolves once the bytes were handed to the system: then the buffer may be used again. @throws ClientGone */
const write = (response: ServerResponse, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    response.write(bytes, (error) => (error ? reject(new ClientGone()) : resolve()))
  })
