import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { Refusal } from '#base/refusal.ts'
import type { Ingest, IngestPhase, IngestResult } from '#data/disk/ingest-types.ts'
import { recordSpans } from '../../test/support/spans.ts'
import { traceIngest } from './trace-ingest.ts'

const REQUEST = {
  source: { kind: 'http', url: 'http://h/x' },
  limits: DEFAULT_LIMITS,
  allowSource: [],
} as const
const RESULT: IngestResult = {
  ...{ manifest: '0'.repeat(64), virtualSize: 9, dataSize: 8, addedSize: 7, formatChain: 'raw', notes: [] },
  source: {
    ...{ url: undefined, finalUrl: undefined, bytes: 9 },
    ...{ sha256: undefined, etag: undefined, lastModified: undefined },
  },
}
const CALL = { operation: 'block_put', seconds: 0.5, bytes: 10, outcome: 'done' } as const

const ingestOf =
  (phases: readonly IngestPhase[], end: () => IngestResult): Ingest =>
  async (_request, { onProgress, onStoreTimes }) => {
    for (const phase of phases) {
      const none = { received: 0, total: undefined, rate: 0, decoded: 0, virtualSize: undefined, dataSize: 0 }
      onProgress({ phase, ...none })
      if (phase === 'receiving') onStoreTimes?.([CALL, CALL])
    }
    return end()
  }

test('traces: a registration is a span with its phases below it, and what each asked the store for', async (t) => {
  const spans = recordSpans(t)
  const phases: string[] = []
  const times: unknown[] = []
  const ingest = traceIngest(ingestOf(['connecting', 'receiving', 'receiving', 'saving'], () => RESULT))
  const result = await ingest(REQUEST, {
    onProgress: ({ phase }) => phases.push(phase),
    onStoreTimes: (some) => times.push(...some),
    signal: new AbortController().signal,
  })
  assert.equal(result, RESULT)
  assert.deepEqual(phases, ['connecting', 'receiving', 'receiving', 'saving'], 'others are told as before')
  assert.equal(times.length, 4)
  assert.deepEqual(
    spans.map(({ name }) => name),
    ['registration connecting', 'registration receiving', 'registration saving', 'registration'],
  )
  const whole = spans.at(-1)
  for (const phase of spans.slice(0, -1)) assert.equal(phase.parentId, whole?.id)
  assert.deepEqual(spans[1]?.attributes, {
    ...{ 'store.block_put.calls': 4, 'store.block_put.seconds': 2, 'store.block_put.bytes': 40 },
  })
  assert.equal(whole?.attributes['image_library.format'], 'raw')
  assert.equal(whole?.isError, false)
})

test('traces: a registration that fails ends its spans, and the error is the same', async (t) => {
  const spans = recordSpans(t)
  const refusal = new Refusal('not-an-image', 'This is a web page.')
  const ingest = traceIngest(
    ingestOf(['receiving'], () => {
      throw refusal
    }),
  )
  const signal = new AbortController().signal
  await assert.rejects(ingest(REQUEST, { onProgress: () => {}, signal }), (error) => error === refusal)
  assert.equal(spans.length, 3)
  assert.equal(spans.at(-1)?.isError, true)
})
