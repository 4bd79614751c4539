import type { Socket } from 'node:net'
import type { Share } from '#base/shares.ts'
import { hasBody } from '#edge/http/body-watch.ts'
import { expectsContinue } from '#edge/http/intercept.ts'
import type { Exchange } from './exchange.ts'
import { SwiftProblem } from './reply.ts'

/** Bytes of a body that wait for being written before the client has to wait. */
const HIGH_WATER = 1024 * 1024

/** The exchange that each connection is used for now. */
const current = new WeakMap<Socket, Exchange>()

/** Has the exchange hear of it where its client sends more than its request, or less. */
export function watchConnection(exchange: Exchange): void {
  const { socket } = exchange.raw
  current.set(socket, exchange)
  exchange.response.once('close', () => {
    if (current.get(socket) === exchange) current.delete(socket)
  })
}

/**
 * Reads the body of a request to its end, asking for it first where the client waits to be asked.
 * @param write given one chunk after another; may take its memory
 * @throws SwiftProblem 408 for a client that falls silent, 499 for one that ends early; what `write` throws
 */
export function receiveBody(exchange: Exchange, write: (chunk: Uint8Array) => Promise<void>): Promise<void> {
  const { raw, response, surroundings } = exchange
  if (!hasBody(raw)) return Promise.resolve()
  // Nothing more will be heard of it.
  if (exchange.cutStatus !== undefined) return Promise.reject(new SwiftProblem(exchange.cutStatus))
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const waiting: Uint8Array[] = []
  let waitingBytes = 0
  let isWriting = false
  let isComplete = false
  let failure: { readonly reason: unknown } | undefined

  async function writeAll(): Promise<void> {
    isWriting = true
    try {
      for (let chunk = waiting.shift(); chunk; chunk = waiting.shift()) {
        const { length } = chunk
        await write(chunk)
        waitingBytes -= length
        if (waitingBytes < HIGH_WATER && !failure && raw.isPaused()) raw.resume()
      }
    } catch (error) {
      fail(error)
    }
    isWriting = false
    if (failure) reject(failure.reason)
    else if (isComplete) resolve()
  }
  function take(chunk: Buffer): void {
    waiting.push(chunk)
    waitingBytes += chunk.length
    if (waitingBytes >= HIGH_WATER) raw.pause()
    if (!isWriting) void writeAll()
  }
  function fail(reason: unknown): void {
    failure ??= { reason }
    waiting.length = 0
    raw.off('data', take)
    raw.pause()
    // Whoever hears of it may dispose of what is written to, so nothing may be on its way there.
    if (!isWriting) reject(failure.reason)
  }
  const end = () => {
    isComplete = true
    if (!isWriting) resolve()
  }
  function cut(status: number): void {
    exchange.body = 'cut'
    fail(new SwiftProblem(status))
  }
  const breakOff = () => {
    if (!raw.complete) cut(499)
  }
  exchange.body = 'reading'
  exchange.cut = cut
  surroundings.bodies.watch(raw, () => cut(408))
  if (raw.destroyed) breakOff()
  raw.on('data', take)
  raw.once('end', end)
  raw.once('error', breakOff)
  raw.once('close', breakOff)
  if (expectsContinue(raw)) response.writeContinue()
  return promise
}

/**
 * What a client sent is no HTTP any more, or ended before its request did, while it still waits for an answer.
 * @returns whether somebody answers
 */
export function cutShort(socket: Socket, error: Error & { code?: string }): boolean {
  const exchange = current.get(socket)
  if (!exchange || !error.code?.startsWith('HPE_')) return false
  exchange.body = 'cut'
  // What comes behind a request does it no harm.
  if (exchange.raw.complete) return true
  exchange.cutStatus = error.code === 'HPE_INVALID_EOF_STATE' ? 499 : 400
  exchange.cut?.(exchange.cutStatus)
  return true
}

/** What of a request is held in memory at a client's pace, until it is answered. */
export function holdText(exchange: Exchange): Share {
  const { caller, texts, response } = exchange
  const share = texts.enter(caller?.session?.accountId ?? caller?.grant?.accountId ?? '')
  response.once('close', () => share[Symbol.dispose]())
  return share
}

/** Reads a body of at most so many bytes into memory. @throws SwiftProblem 413 with this text; Busy */
export async function receiveText(exchange: Exchange, limit: number, text: string): Promise<Buffer> {
  if (Number(exchange.raw.headers['content-length'] ?? 0) > limit) throw new SwiftProblem(413, text)
  const share = holdText(exchange)
  const chunks: Uint8Array[] = []
  let length = 0
  await receiveBody(exchange, async (chunk) => {
    length += chunk.length
    if (length > limit) throw new SwiftProblem(413, text)
    share.add(chunk.length)
    chunks.push(chunk)
  })
  return Buffer.concat(chunks)
}

const UNKNOWN_CODING = 'Unsupported Transfer-Coding header value specified in Transfer-Encoding header'

/**
 * How long the client says the body is; undefined where it comes in chunks.
 * @throws SwiftProblem 411 where nothing is said, 501 for any other coding
 */
export function announcedLength({ raw: { headers } }: Exchange): number | undefined {
  const coding = headers['transfer-encoding']
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') throw new SwiftProblem(501, UNKNOWN_CODING)
  if (coding !== undefined) return undefined
  const length = headers['content-length']
  if (length === undefined) throw new SwiftProblem(411, 'Missing Content-Length header.')
  return Number(length)
}
