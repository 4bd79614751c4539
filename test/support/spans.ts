import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import {
  type Attributes,
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  type TextMapGetter,
  TraceFlags,
  trace,
} from '@opentelemetry/api'

/** A span that has ended. */
export interface EndedSpan {
  readonly name: string
  readonly traceId: string
  readonly id: string
  readonly parentId: string | undefined
  readonly attributes: Attributes
  readonly isError: boolean
}

/** Does, until the test has ended, as little of what an SDK does as shows what the library tells it. */
export function recordSpans(t: TestContext): EndedSpan[] {
  const ended: EndedSpan[] = []
  const active = new AsyncLocalStorage<Context>()
  context.setGlobalContextManager({
    active: () => active.getStore() ?? ROOT_CONTEXT,
    with: (present, work, self, ...parameters) =>
      active.run(present, () => work.call(self as never, ...parameters)),
    bind: (_present, target) => target,
    enable() {
      return this
    },
    disable() {
      return this
    },
  })
  propagation.setGlobalPropagator({ inject: () => undefined, extract: extractTraceparent, fields: () => [] })
  trace.setGlobalTracerProvider({
    getTracer: () => ({
      startSpan: (name, options = {}, present = context.active()) =>
        startSpan(name, { ...options.attributes }, present, ended),
      startActiveSpan: () => {
        throw new Error('not needed')
      },
    }),
  })
  t.after(() => {
    for (const api of [context, propagation, trace]) api.disable()
  })
  return ended
}

function startSpan(name: string, attributes: Attributes, present: Context, ended: EndedSpan[]): Span {
  const parent = trace.getSpanContext(present)
  const traceId = parent?.traceId ?? randomBytes(16).toString('hex')
  const id = randomBytes(8).toString('hex')
  let isError = false
  const span: Span = {
    spanContext: () => ({ traceId, spanId: id, traceFlags: TraceFlags.SAMPLED }),
    setAttribute: (key, value) => span.setAttributes({ [key]: value }),
    setAttributes: (more) => {
      Object.assign(attributes, more)
      return span
    },
    setStatus: ({ code }) => {
      isError = code === SpanStatusCode.ERROR
      return span
    },
    addEvent: () => span,
    addLink: () => span,
    addLinks: () => span,
    updateName: () => span,
    isRecording: () => true,
    recordException: () => undefined,
    end: () => ended.push({ name, traceId, id, parentId: parent?.spanId, attributes, isError }),
  }
  return span
}

/** W3C Trace Context, version 00. */
function extractTraceparent<T>(present: Context, carrier: T, getter: TextMapGetter<T>): Context {
  const [, traceId, spanId, flags] =
    /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/.exec(String(getter.get(carrier, 'traceparent'))) ?? []
  if (!traceId || !spanId) return present
  const traceFlags = Number.parseInt(flags ?? '0', 16)
  return trace.setSpanContext(present, { traceId, spanId, traceFlags, isRemote: true })
}
