import { STATUS_CODES } from 'node:http'
import { hasBody } from '#edge/http/body-watch.ts'
import { expectsContinue } from '#edge/http/intercept.ts'
import type { Exchange, Headers } from './exchange.ts'

export const HTML = 'text/html; charset=UTF-8'

/** Texts of Swift's own error pages. */
const TEXTS: Readonly<Record<number, string>> = {
  202: 'The request is accepted for processing.',
  400: 'The server could not comply with the request since it is either malformed or otherwise incorrect.',
  401: 'This server could not verify that you are authorized to access the document you requested.',
  403: 'Access was denied to this resource.',
  404: 'The resource could not be found.',
  405: 'The method is not allowed for this resource.',
  406: 'The resource is not available in a format acceptable to your browser.',
  408: 'The server has waited too long for the request to be sent by the client.',
  409: 'There was a conflict when trying to complete your request.',
  411: 'Content-Length header required.',
  412: 'A precondition for this request was not met.',
  413: 'The body of your request was too large for this server.',
  416: 'The Range requested is not available.',
  422: 'Unable to process the contained instructions',
  499: 'The client was disconnected during request.',
  500: 'The server has either erred or is incapable of performing the requested operation.',
  501: 'The requested method is not implemented by this server.',
  503: 'The server is currently unavailable. Please try again at a later time.',
}

const REASONS: Readonly<Record<number, string>> = {
  408: 'Request Timeout',
  416: 'Requested Range Not Satisfiable',
  499: 'Client Disconnect',
  500: 'Internal Error',
}

const reasonOf = (status: number): string => REASONS[status] ?? STATUS_CODES[status] ?? 'Unknown'

/** `404 Not Found`, as bodies name a status. */
export const statusLine = (status: number): string => `${status} ${reasonOf(status)}`

/** What a status means, on two lines. */
export const explain = (status: number): string => `${reasonOf(status)}\n${TEXTS[status] ?? ''}`

/** A client that takes no byte for this long is given up. */
const STALL_MS = 300_000

/**
 * Objects are strangers' bytes. A page among them may run, but as if it came from nowhere: it shares nothing with the
 * API and its console, whose address it has.
 */
const SANDBOX = 'sandbox allow-downloads allow-forms allow-popups allow-scripts'

/** Writes status line and headers; what Orbit answers never has them otherwise. */
export function writeHead(exchange: Exchange, status: number, headers: Headers): void {
  const { response, raw, transId, surroundings } = exchange
  headers['X-Trans-Id'] = transId
  headers['X-Openstack-Request-Id'] = transId
  headers['Content-Security-Policy'] = SANDBOX
  headers['X-Content-Type-Options'] = 'nosniff'
  for (const finish of exchange.finishers) finish(headers, status)
  if (surroundings.isClosing() || exchange.body === 'cut' || leavesBody(exchange))
    headers.Connection = 'close'
  // Connections go on by themselves in HTTP/1.1; only who speaks of it is told.
  else if (raw.headers.connection === undefined && raw.httpVersion === '1.1') {
    response.removeHeader('Connection')
  }
  response.setTimeout(STALL_MS, () => response.destroy())
  response.writeHead(status, reasonOf(status), headers)
}

/** Answers with bytes that are at hand; a HEAD request gets their headers only. */
export function sendBytes(exchange: Exchange, status: number, headers: Headers, body: Uint8Array): void {
  headers['Content-Length'] ??= String(body.length)
  writeHead(exchange, status, headers)
  const { response, method } = exchange
  const isBodiless = method === 'HEAD' || status === 204 || status === 304 || body.length === 0
  if (!leavesBody(exchange)) {
    // What is left of a body that somebody began to read is not taken in by Node itself.
    exchange.raw.resume()
    // Never a string: Node would join it with the headers and encode them, too, as UTF-8.
    if (isBodiless) response.end()
    else response.end(body)
    return
  }
  if (isBodiless) response.flushHeaders()
  else response.write(body)
  letSend(exchange)
}

/** More of a body than this is not taken in just to keep a connection. */
const SMALL_REST = 64 * 1024
const LINGER_MS = 2000
const LINGER_BYTES = 32 * 1024 * 1024

/** Whether much of the request's body is unread or still to come, so that the connection cannot be used again. */
function leavesBody({ raw, body }: Exchange): boolean {
  if (!hasBody(raw) || raw.complete || body === 'cut') return false
  return expectsContinue(raw) || !(Number(raw.headers['content-length']) <= SMALL_REST)
}

/**
 * The answer is out; a client that is still sending must get to read it before the connection ends under it, so what it
 * sends is taken in for a moment.
 */
function letSend({ raw, response, body }: Exchange): void {
  // A client that was not asked for its body sends none.
  if (body === 'unread' && expectsContinue(raw)) {
    response.end()
    return
  }
  const end = () => {
    clearTimeout(timer)
    response.end()
  }
  const timer = setTimeout(end, LINGER_MS)
  let bytes = 0
  raw.removeAllListeners('data')
  raw.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > LINGER_BYTES) end()
  })
  raw.once('end', end)
  raw.once('error', end)
  raw.once('close', end)
  raw.resume()
}

/** Answers without a body. */
export function sendEmpty(exchange: Exchange, status: number, headers: Headers = {}): void {
  if (status !== 304) headers['Content-Type'] ??= HTML
  sendBytes(exchange, status, headers, EMPTY)
}

const EMPTY = new Uint8Array()

/** Answers with a line of plain text, as validation errors have it. */
export function sendText(exchange: Exchange, status: number, text: string, headers: Headers = {}): void {
  headers['Content-Type'] ??= 'text/plain; charset=UTF-8'
  sendBytes(exchange, status, headers, Buffer.from(text))
}

/** Answers with Swift's page for a status, mostly an error. */
export function sendPage(exchange: Exchange, status: number, headers: Headers = {}): void {
  headers['Content-Type'] = HTML
  sendBytes(exchange, status, headers, Buffer.from(pageOf(status)))
}

const pageOf = (status: number): string =>
  `<html><h1>${reasonOf(status)}</h1><p>${TEXTS[status] ?? ''}</p></html>`

/** Answers that somebody has to say who he is. */
export function sendUnauthorized(exchange: Exchange, headers: Headers = {}): void {
  headers['Www-Authenticate'] ??= `Swift realm="${encodeURIComponent(exchange.path.account)}"`
  sendPage(exchange, 401, headers)
}

/** A refusal that HTTP itself, not Orbit, is the reason of; thrown by whatever reads a request. */
export class SwiftProblem extends Error {
  readonly status: number
  /** A line of plain text; the status's own page where there is none. */
  readonly text: string | undefined
  readonly headers: Headers

  constructor(status: number, text?: string, headers: Headers = {}) {
    super(text ?? `status ${status}`)
    this.name = 'SwiftProblem'
    this.status = status
    this.text = text
    this.headers = headers
  }
}
