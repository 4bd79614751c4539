import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { withLogFields } from '#base/log-context.ts'

/** Who answers a request. */
export type Edge = 'api' | 'console' | 'orbit' | 'probe' | 'other'

/** A request that has ended. */
export interface Answered {
  readonly edge: Edge
  /** One of those that HTTP has, or `OTHER`. */
  readonly method: string
  /** `2xx`, say; `gone` where the client left before its answer was complete. */
  readonly status: string
  readonly seconds: number
  /** A stream that lasts as long as somebody listens. */
  readonly isLive: boolean
}

/** Who counts requests; both are called once for each. */
export interface RequestObserver {
  readonly onBegun: (edge: Edge) => void
  readonly onAnswered: (answered: Answered) => void
}

const METHODS = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'COPY', 'OPTIONS'])
/** What a client may call its request, so that its log and ours can be laid side by side. */
const WELL_FORMED = /^[\w.:-]{8,128}$/

const ids = new WeakMap<IncomingMessage, string>()

/** The request's name in answers and in the log: the client's own `X-Request-Id` where that is well-formed. */
export function requestIdOf(raw: IncomingMessage): string {
  const known = ids.get(raw)
  if (known !== undefined) return known
  const given = raw.headers['x-request-id']
  const id = typeof given === 'string' && WELL_FORMED.test(given) ? given : randomUUID()
  ids.set(raw, id)
  return id
}

export interface Scope {
  readonly raw: IncomingMessage
  readonly response: ServerResponse
  readonly edge: Edge
  readonly observer: RequestObserver | undefined
}

/** Answers a request: counted, a span of the trace that its client began, its id on each line of the log. */
export function inRequest({ raw, response, edge, observer }: Scope, answer: () => void): void {
  const started = performance.now()
  const method = METHODS.has(raw.method ?? '') ? String(raw.method) : 'OTHER'
  const reqId = requestIdOf(raw)
  const before = propagation.extract(context.active(), raw.headers)
  const attributes = {
    'http.request.method': method,
    // Query strings may hold signatures.
    'url.path': raw.url?.split('?', 1)[0] ?? '',
    'image_library.edge': edge,
    'image_library.request_id': reqId,
  }
  const span = tracer().startSpan(`${method} ${edge}`, { kind: SpanKind.SERVER, attributes }, before)
  observer?.onBegun(edge)
  response.once('close', () => {
    const { statusCode } = response
    const isGone = !response.writableFinished
    span.setAttribute('http.response.status_code', statusCode)
    if (isGone || statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
    const status = isGone ? 'gone' : `${Math.floor(statusCode / 100)}xx`
    const isLive = String(response.getHeader('content-type') ?? '').startsWith('text/event-stream')
    observer?.onAnswered({ edge, method, status, seconds: (performance.now() - started) / 1000, isLive })
  })
  context.with(trace.setSpan(before, span), () => withLogFields({ reqId }, answer))
}

/** Goes on with a request that has another name from here on, as an edge with names of its own gives it. */
export function underRequestId(id: string, answer: () => void): void {
  trace.getActiveSpan()?.setAttribute('image_library.request_id', id)
  withLogFields({ reqId: id }, answer)
}

const tracer = () => trace.getTracer('image-library')

/** Who answers an address of the router's, as it stands in the request line. */
export function edgeOf(url: string): Edge {
  if (/^\/(?:1\.0|token|openapi\.json)(?:[/?]|$)/.test(url)) return 'api'
  if (url.startsWith('/console/')) return 'console'
  return /^\/(?:healthz|readyz|metrics)(?:\?|$)/.test(url) ? 'probe' : 'other'
}
