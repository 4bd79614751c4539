import { KiB } from '#base/bytes.ts'
import { downloadFailure } from './failure.ts'

/** Bytes of status line and header lines, those of `1xx` answers before it included. */
export const MAX_HEAD_SIZE = 16 * KiB

/** How the end of the body is known: by a count, by chunks that say so, or by the end of the connection. */
export type Framing =
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' | 'close' }

export interface ResponseHead {
  readonly status: number
  readonly framing: Framing
  /** A header's value; undefined where it is missing, given twice, or not printable ASCII (`location`: any bytes). */
  header(name: string): string | undefined
}

export function notHttp(what: string): Error {
  return downloadFailure(`the server's answer is not valid HTTP (${what})`, {
    retryable: false,
    hint: 'Check whether the URL leads to a web server, and whether it should begin with https://.',
  })
}

/** Collects a response's head as its bytes arrive. */
export interface HeadReader {
  /**
   * Takes more bytes.
   * @returns where in `bytes` the body begins once the head is complete, else undefined
   * @throws SourceFailure where the head is too long or no HTTP
   */
  feed(bytes: Uint8Array): number | undefined
  /** The head; only once `feed` has said that it is complete. */
  head(): ResponseHead
}

export function createHeadReader(): HeadReader {
  const buffer = Buffer.allocUnsafe(MAX_HEAD_SIZE)
  let length = 0
  // Where the present response begins: after the 1xx answers, which only announce another one.
  let begin = 0
  let complete: ResponseHead | undefined

  return {
    feed(bytes) {
      const before = length
      const room = Math.min(bytes.length, MAX_HEAD_SIZE - length)
      buffer.set(bytes.subarray(0, room), length)
      length += room
      // What came before was searched already, up to the empty line that may be cut in two.
      let from = Math.max(begin, before - 3)
      for (;;) {
        const end = endOfHead(buffer.subarray(0, length), from)
        if (end === undefined) {
          if (length < MAX_HEAD_SIZE) return undefined
          throw downloadFailure(`the server's headers are longer than ${MAX_HEAD_SIZE} bytes`, {
            retryable: false,
            hint: 'Check the URL: file servers answer with far less.',
          })
        }
        const head = parseHead(buffer.toString('latin1', begin, end))
        if (head.status >= 200) {
          complete = head
          return end - before
        }
        if (head.status === 101) throw notHttp('an upgrade that nobody asked for')
        begin = end
        from = end
      }
    },
    head() {
      if (!complete) throw new Error('internal error: the head is not complete')
      return complete
    },
  }
}

/** The offset after the empty line; lines may end with a bare LF (RFC 9112 section 2.2). */
function endOfHead(bytes: Uint8Array, from: number): number | undefined {
  for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3
  }
  return undefined
}

const LF = 0x0a
const CR = 0x0d
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

function parseHead(text: string): ResponseHead {
  const [statusLine = '', ...lines] = text.split(/\r?\n/)
  const [, minor, code] = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: |$)/.exec(statusLine) ?? []
  if (code === undefined) throw notHttp('the status line')
  const fields = new Map<string, string[]>()
  for (const line of lines) {
    if (line === '') continue
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(colon, 0))
    if (!NAME.test(name) || CONTROL.test(line)) throw notHttp('a header line')
    const key = name.toLowerCase()
    const value = line.slice(colon + 1).trim()
    const values = fields.get(key)
    if (values) values.push(value)
    else fields.set(key, [value])
  }
  return {
    status: Number(code),
    framing: framingOf(fields, minor === '1'),
    header(name) {
      const [value, ...more] = fields.get(name) ?? []
      if (value === undefined || more.length > 0) return undefined
      return name === 'location' || /^[\x20-\x7e]*$/.test(value) ? value : undefined
    },
  }
}

/** RFC 9112 section 6.3; whatever two readers could understand in two ways is refused. */
function framingOf(fields: ReadonlyMap<string, readonly string[]>, isHttp11: boolean): Framing {
  const coding = fields.get('transfer-encoding')
  const lengths = fields
    .get('content-length')
    ?.flatMap((value) => value.split(',').map((part) => part.trim()))
  if (coding) {
    if (lengths) throw notHttp('both a length and a transfer encoding')
    if (!isHttp11 || coding.join().toLowerCase() !== 'chunked') throw notHttp('an unknown transfer encoding')
    return { kind: 'chunked' }
  }
  if (!lengths) return { kind: 'close' }
  const [length = ''] = lengths
  if (!/^\d+$/.test(length) || lengths.some((other) => other !== length)) throw notHttp('the content length')
  return { kind: 'length', length: Number(length) }
}
