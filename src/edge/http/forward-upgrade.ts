import { type IncomingMessage, ServerResponse, request as withoutTls } from 'node:http'
import { request as withTls } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type App, acceptUpgrades } from './app.ts'
import type { HttpProblem } from './problems.ts'
import { requestIdOf } from './request-scope.ts'

export interface ForwardUpgradesOptions {
  /** Scheme and host of the process that answers. */
  readonly to: string
  /** Beginnings of paths. */
  readonly prefixes: readonly string[]
  /** What the client is told where nobody answers. */
  readonly away: () => HttpProblem
  readonly patienceMs: number
}

/** RFC 9110 §7.6.1: what two ends of one connection say to each other; and an expectation that is met here. */
const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Headers that are not passed on. */
export const ofThisHop = {
  /** @param headers by their names in lower case */
  without<T extends object>(headers: T): T {
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name))) as T
  },
}

/**
 * Lets clients become WebSockets of another process: its answer decides, and then bytes pass as they are, each side as
 * fast as the other takes them.
 */
export function forwardUpgrades(app: App, options: ForwardUpgradesOptions): void {
  const open = new Set<Duplex>()
  acceptUpgrades(app, (url) => options.prefixes.some((prefix) => url.startsWith(`${prefix}/`)))
  app.server.on('upgrade', (raw: IncomingMessage, socket: Socket, head: Buffer) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    // Whoever goes away in between is noticed by what is written to him.
    socket.on('error', () => {})
    ask(raw, options)
      .then((answered) =>
        'upstream' in answered ? join(socket, head, answered) : refuse(raw, socket, answered),
      )
      .catch((error: unknown) => {
        app.log.info({ err: error, reqId: requestIdOf(raw), to: options.to }, 'a forwarded connection ended')
        if (socket.writable && socket.bytesWritten === 0) return answerAway(raw, socket, options)
        socket.destroy()
      })
  })
  app.addHook('preClose', async () => {
    for (const socket of open) socket.destroy()
  })
}

interface Upgraded {
  readonly answer: IncomingMessage
  readonly upstream: Duplex
  readonly first: Buffer
}

function ask(
  raw: IncomingMessage,
  { to, patienceMs }: ForwardUpgradesOptions,
): Promise<Upgraded | IncomingMessage> {
  const { protocol, hostname, port } = new URL(to)
  const answered = Promise.withResolvers<Upgraded | IncomingMessage>()
  const onward = (protocol === 'https:' ? withTls : withoutTls)({
    // Of an IPv6 address without its brackets.
    host: hostname.replace(/^\[|\]$/g, ''),
    port,
    path: raw.url,
    headers: { ...raw.headers, 'x-request-id': requestIdOf(raw) },
    agent: false,
    timeout: patienceMs,
  })
  onward.on('upgrade', (answer, upstream: Socket, first) => {
    upstream.setTimeout(0)
    answered.resolve({ answer, upstream, first })
  })
  onward.on('response', (answer) => answered.resolve(answer))
  onward.on('timeout', () => onward.destroy(new Error('no answer in time')))
  onward.on('error', (error) => answered.reject(error))
  onward.end()
  return answered.promise
}

async function join(socket: Socket, head: Buffer, { answer, upstream, first }: Upgraded): Promise<void> {
  upstream.on('error', () => socket.destroy())
  const { statusCode, statusMessage, rawHeaders } = answer
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`]
  for (let index = 0; index < rawHeaders.length; index += 2)
    lines.push(`${rawHeaders[index]}: ${rawHeaders[index + 1]}`)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  socket.write(first)
  upstream.write(head)
  // Node's server listens to its sockets, too, and warns of a leak from the eleventh listener on.
  socket.setMaxListeners(20)
  await pipeline(socket, upstream, socket)
}

/** Passes on an ordinary answer; the connection is of no more use. */
async function refuse(raw: IncomingMessage, socket: Socket, answer: IncomingMessage): Promise<void> {
  const response = responseOn(raw, socket)
  response.writeHead(answer.statusCode ?? 0, { ...ofThisHop.without(answer.headers), connection: 'close' })
  await pipeline(answer, response)
}

function answerAway(raw: IncomingMessage, socket: Socket, { away }: ForwardUpgradesOptions): void {
  const { status, name, errors } = away()
  const type = { 'content-type': 'application/json; charset=utf-8', connection: 'close' }
  responseOn(raw, socket)
    .writeHead(status, { ...type, 'x-request-id': requestIdOf(raw) })
    .end(JSON.stringify({ error_name: name, errors, request_id: requestIdOf(raw) }))
}

function responseOn(raw: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(raw)
  response.assignSocket(socket)
  response.once('finish', () => socket.end())
  return response
}
