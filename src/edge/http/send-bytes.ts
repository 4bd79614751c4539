import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { assert } from '#base/errors.ts'
import { logGone } from './app.ts'
import { closeSignal } from './close-signal.ts'
import { checkConditions, rangeApplies, type Validators } from './conditions.ts'
import { ClientGone, HttpProblem } from './problems.ts'
import { type ByteRange, contentRange, parseRanges } from './ranges.ts'

/** Bytes of a known length that can be read from any offset. */
export interface Representation extends Validators {
  readonly size: number
  readonly contentType: string
  /** A chunk is valid until the next one is asked for. */
  read(offset: number, length: number, signal: AbortSignal): AsyncIterable<Uint8Array>
}

/** Headers that speak of the bytes, and so have no place on a refusal. */
const OF_BYTES = new Set([
  'accept-ranges',
  'content-disposition',
  'content-length',
  'content-range',
  'content-type',
  'etag',
  'last-modified',
  'x-image-digest',
])

/** A client that takes no byte for this long is given up. */
const STALL_MS = 300_000

/**
 * Answers a GET or HEAD with bytes, or with the parts of them that were asked for.
 * An error once bytes were sent breaks the connection, so that nobody takes a part for the whole.
 */
export async function sendBytes(
  request: FastifyRequest,
  reply: FastifyReply,
  representation: Representation,
): Promise<FastifyReply> {
  const { size, etag, contentType, lastModified } = representation
  reply.headers({ etag, 'accept-ranges': 'bytes' })
  if (lastModified !== undefined) reply.header('last-modified', new Date(lastModified).toUTCString())
  const status = checkConditions(request.headers, representation)
  if (status === 304) return reply.code(304).send()
  if (status === 412) throw new HttpProblem(412, 'precondition_failed', ['the content is another one by now'])

  // Ranges mean something for GET alone (RFC 9110 §14.2).
  const wanted = request.method === 'GET' && rangeApplies(request.headers, representation)
  const ranges = wanted ? parseRanges(request.headers.range, size) : 'all'
  if (ranges === 'unsatisfiable') {
    throw new HttpProblem(416, 'range_not_satisfiable', [`the range lies past the end of ${size} bytes`], {
      'content-range': `bytes */${size}`,
    })
  }
  const parts = ranges === 'all' ? [{ offset: 0, length: size }] : ranges
  const [only] = parts
  assert(only, 'at least one range')
  if (ranges !== 'all') reply.code(206)
  if (parts.length > 1) return sendMultipart(request, reply, representation, parts)
  if (ranges !== 'all') reply.header('content-range', contentRange(only, size))
  reply.headers({ 'content-type': contentType, 'content-length': only.length })
  return sendSegments(request, reply, [{ range: only }], representation)
}

/** Several ranges travel as multipart/byteranges (RFC 9110 §14.6), its length known beforehand. */
function sendMultipart(
  request: FastifyRequest,
  reply: FastifyReply,
  representation: Representation,
  ranges: readonly ByteRange[],
): Promise<FastifyReply> {
  const boundary = randomBytes(12).toString('hex')
  const { size, contentType } = representation
  const segments: Segment[] = ranges.flatMap((range, index) => [
    {
      text:
        `${index === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${contentType}\r\n` +
        `Content-Range: ${contentRange(range, size)}\r\n\r\n`,
    },
    { range },
  ])
  segments.push({ text: `\r\n--${boundary}--\r\n` })
  const length = segments.reduce(
    (sum, { range, text }) => sum + (range ? range.length : Buffer.byteLength(text)),
    0,
  )
  reply.headers({ 'content-type': `multipart/byteranges; boundary=${boundary}`, 'content-length': length })
  return sendSegments(request, reply, segments, representation)
}

type Segment =
  | { readonly range: ByteRange; readonly text?: never }
  | { readonly text: string; readonly range?: never }

async function sendSegments(
  request: FastifyRequest,
  reply: FastifyReply,
  segments: readonly Segment[],
  representation: Representation,
): Promise<FastifyReply> {
  if (request.method === 'HEAD') return reply.send()
  const signal = closeSignal(reply.raw)
  const opened = await openFirst(representation, segments, signal).catch((error: unknown) => {
    // Nothing was sent yet: the fault can be answered with a status, without what was said of the bytes.
    for (const name of Object.keys(reply.getHeaders())) if (OF_BYTES.has(name)) reply.removeHeader(name)
    throw error
  })
  const { raw } = hijack(reply)
  raw.setTimeout(STALL_MS, () => raw.destroy())
  try {
    for (const { range, text } of segments) {
      if (opened && range === opened.range) await writeRange(raw, opened, signal)
      else if (range) await writeRange(raw, openRange(representation, range, signal), signal)
      else await write(raw, Buffer.from(text))
    }
    raw.end()
  } catch (error) {
    raw.destroy()
    if (signal.aborted || error instanceof ClientGone) logGone(request)
    else request.log.error({ err: error }, 'sending stopped half-way')
  }
  return reply
}

/** Takes the response over from the framework, with the headers set so far. */
export function hijack(reply: FastifyReply): FastifyReply {
  reply.hijack()
  reply.raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
  return reply
}

interface OpenRange {
  readonly range: ByteRange
  readonly chunks: AsyncIterable<Uint8Array>
}

const openRange = (representation: Representation, range: ByteRange, signal: AbortSignal): OpenRange => ({
  range,
  chunks: representation.read(range.offset, range.length, signal),
})

/** Waits until the first bytes are at hand: most faults show themselves by then. */
async function openFirst(
  representation: Representation,
  segments: readonly Segment[],
  signal: AbortSignal,
): Promise<OpenRange | undefined> {
  const range = segments.find((segment) => segment.range)?.range
  if (!range) return undefined
  const iterator = openRange(representation, range, signal).chunks[Symbol.asyncIterator]()
  const first = await iterator.next()
  async function* chunks() {
    try {
      for (let next = first; !next.done; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  }
  return { range, chunks: chunks() }
}

async function writeRange(
  raw: ServerResponse,
  { range: { length }, chunks }: OpenRange,
  signal: AbortSignal,
): Promise<void> {
  let sent = 0
  for await (const chunk of chunks) {
    signal.throwIfAborted()
    sent += chunk.length
    assert(sent <= length, `${sent} bytes for a range of ${length}`)
    await write(raw, chunk)
  }
  assert(sent === length, `${sent} bytes for a range of ${length}`)
}

/**
 * Resolves once the bytes were handed to the system: then the buffer may be used again.
 * @throws ClientGone; nothing else can fail here
 */
const write = (raw: ServerResponse, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    raw.write(bytes, (error) => (error ? reject(new ClientGone()) : resolve()))
  })
