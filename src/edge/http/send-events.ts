import type { ServerResponse } from 'node:http'
import { setInterval } from 'node:timers'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { closeSignal } from './close-signal.ts'
import { hijack } from './send-bytes.ts'

export interface ServerSentEvent {
  /** Comes back as `Last-Event-ID` when a client that lost the stream connects again. */
  readonly id: string
  readonly data: unknown
}

export interface SendEventsOptions {
  /** How often a comment is sent, so that proxies and clients see that the stream lives. */
  readonly heartbeatMs: number
  /** Ends the stream; clients connect again by themselves. */
  readonly stopping: AbortSignal
}

/** A client that does not read has at most this much waiting for it, then loses the stream. */
const MAX_WAITING_BYTES = 1024 * 1024

/** Says whether the client asked for a live stream rather than a list. */
export const wantsEvents = (request: FastifyRequest): boolean =>
  (request.headers.accept ?? '').includes('text/event-stream')

/**
 * Answers with server-sent events (WHATWG HTML §9.2) until the source ends, the client goes away or we stop.
 * @param open is given the signal that ends it
 */
export async function sendEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  open: (signal: AbortSignal) => AsyncIterable<ServerSentEvent>,
  { heartbeatMs, stopping }: SendEventsOptions,
): Promise<FastifyReply> {
  reply.headers({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  })
  const { raw } = hijack(reply)
  const signal = AbortSignal.any([closeSignal(raw), stopping])
  write(raw, ': connected\n\n')
  const heartbeat = setInterval(() => write(raw, ': alive\n\n'), heartbeatMs)
  try {
    for await (const event of open(signal)) {
      write(raw, `id: ${event.id}\ndata: ${JSON.stringify(event.data)}\n\n`)
    }
  } catch (error) {
    if (!signal.aborted) request.log.error({ err: error }, 'event stream broke')
  } finally {
    clearInterval(heartbeat)
    raw.end()
  }
  return reply
}

function write(raw: ServerResponse, text: string): void {
  if (raw.writableLength > MAX_WAITING_BYTES) raw.destroy()
  else raw.write(text)
}
