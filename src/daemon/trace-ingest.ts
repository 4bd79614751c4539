import { context, type Span, SpanStatusCode, trace } from '@opentelemetry/api'
import type { Ingest, IngestPhase } from '#data/disk/ingest-types.ts'
import type { StoreTimes } from '#data/store/measured.ts'

/**
 * The same, as a span with one for each of its phases; what the store was asked for stands on the span of the phase in
 * which it was: calls, seconds and bytes of each operation. Without an SDK of the operator's all of it is nothing.
 */
export function traceIngest(ingest: Ingest): Ingest {
  return async (request, options) => {
    const tracer = trace.getTracer('image-library')
    const attributes = { 'image_library.source': request.source.kind }
    const whole = tracer.startSpan('registration', { attributes })
    const inside = trace.setSpan(context.active(), whole)
    let phase = new Phase('connecting', tracer.startSpan('registration connecting', {}, inside))
    try {
      const result = await context.with(inside, () =>
        ingest(request, {
          ...options,
          onStoreTimes(times) {
            phase.add(times)
            options.onStoreTimes?.(times)
          },
          onProgress(progress) {
            if (progress.phase !== phase.name) {
              phase.end()
              const span = tracer.startSpan(`registration ${progress.phase}`, {}, inside)
              phase = new Phase(progress.phase, span)
            }
            options.onProgress(progress)
          },
        }),
      )
      whole.setAttributes({
        'image_library.format': result.formatChain,
        'image_library.source_bytes': result.source.bytes,
        'image_library.data_bytes': result.dataSize,
        'image_library.added_bytes': result.addedSize,
      })
      return result
    } catch (error) {
      whole.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : '' })
      throw error
    } finally {
      phase.end()
      whole.end()
    }
  }
}

class Phase {
  readonly name: IngestPhase
  readonly #span: Span
  readonly #sums = new Map<string, { calls: number; seconds: number; bytes: number }>()

  constructor(name: IngestPhase, span: Span) {
    this.name = name
    this.#span = span
  }

  add(times: StoreTimes): void {
    for (const { operation, seconds, bytes } of times) {
      const sum = this.#sums.get(operation) ?? { calls: 0, seconds: 0, bytes: 0 }
      this.#sums.set(operation, sum)
      sum.calls++
      sum.seconds += seconds
      sum.bytes += bytes
    }
  }

  end(): void {
    for (const [operation, sum] of this.#sums)
      for (const [name, value] of Object.entries(sum))
        this.#span.setAttribute(`store.${operation}.${name}`, value)
    this.#span.end()
  }
}
