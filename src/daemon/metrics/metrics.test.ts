import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { STORE_OPERATIONS } from '#data/store/measured.ts'
import { parseExposition } from '../../../test/support/exposition.ts'
import { METRICS } from './definitions.ts'
import { createMetrics } from './metrics.ts'
import { createObserver } from './observer.ts'

const DAMAGED = 'image_library_damaged_files'

function open() {
  const failures: unknown[] = []
  const onFailure = (_error: unknown, look: string) => failures.push(look)
  const metrics = createMetrics({ version: '1.2.3', onFailure, lookMs: 50 })
  return { metrics, failures, scrape: async () => parseExposition(await metrics.scrape()) }
}

test('metrics: names and helps keep to the rules of Prometheus', () => {
  for (const [name, { type, help, labels }] of Object.entries(METRICS)) {
    assert.match(name, /^image_library_[a-z]+(?:_[a-z]+)*$/)
    assert.equal(name.endsWith('_total'), type === 'counter', name)
    if (type === 'histogram') assert.match(name, /_seconds$/)
    assert.doesNotMatch(name, /_(?:ms|millis|kib|mib|gib|percent)(?:_|$)/, name)
    assert.match(help, /^[A-Z0-9].*\.$/, name)
    for (const label of labels) assert.match(label, /^[a-z]+$/)
  }
})

test('metrics: the whole page is what Prometheus reads, with whatever stands in a label', async () => {
  const { metrics, scrape } = open()
  metrics.add('image_library_store_failures_total', { operation: 'sync', code: 'a"b\\c\nd' })
  metrics.observe('image_library_http_request_seconds', { edge: 'api' }, 0.03)
  metrics.observe('image_library_http_request_seconds', { edge: 'api' }, 1e6)
  const page = await scrape()
  for (const name of Object.keys(METRICS)) assert.ok(page.types.has(name), name)
  assert.equal(page.value('image_library_store_failures_total{code="a\\"b\\\\c\\nd",operation="sync"}'), 1)
  assert.equal(page.value('image_library_http_request_seconds_count{edge="api"}'), 2)
  assert.equal(page.value('image_library_info{version="1.2.3"}'), 1)
})

test('metrics: a look that fails or never ends leaves out what it tells, and nothing else', async () => {
  const { metrics, failures, scrape } = open()
  let manner: 'tells' | 'throws' | 'hangs' = 'tells'
  metrics.beforeScrape({
    name: 'upkeep',
    metrics: [DAMAGED],
    async look() {
      if (manner === 'throws') throw new Error('no catalog')
      if (manner === 'hangs') await new Promise(() => {})
      metrics.set(DAMAGED, {}, 7)
    },
  })
  assert.equal((await scrape()).value(DAMAGED), 7)
  for (const next of ['throws', 'hangs'] as const) {
    manner = next
    const page = await scrape()
    assert.equal(page.value(DAMAGED), undefined)
    assert.equal(page.value('image_library_info{version="1.2.3"}'), 1)
  }
  manner = 'tells'
  const page = await scrape()
  assert.equal(page.value(DAMAGED), 7)
  assert.equal(page.value('image_library_scrape_failures_total{look="upkeep"}'), 2)
  assert.deepEqual(failures, ['upkeep', 'upkeep'])
})

test('metrics: many who read at once cost one look', async () => {
  const { metrics, scrape } = open()
  let looks = 0
  metrics.beforeScrape({ name: 'disk', metrics: [], look: () => void looks++ })
  await Promise.all(Array.from({ length: 20 }, scrape))
  assert.equal(looks, 1)
  await scrape()
  assert.equal(looks, 2)
})

test('metrics: calls of the store count as new, known or failed by what they were', async () => {
  const { metrics, scrape } = open()
  const { onStoreTimes } = createObserver(metrics)
  const call = { seconds: 0.01, bytes: 100 }
  onStoreTimes([
    { ...call, operation: 'block_claim', outcome: 'missing', bytes: 0 },
    { ...call, operation: 'block_put', outcome: 'done' },
    { ...call, operation: 'block_claim', outcome: 'done' },
    { ...call, operation: 'block_mend', outcome: 'done' },
    { ...call, operation: 'block_put', outcome: 'unavailable' },
    { ...call, operation: 'block_read', outcome: 'failed' },
  ])
  const page = await scrape()
  assert.equal(page.value('image_library_store_blocks_total{outcome="new"}'), 2)
  assert.equal(page.value('image_library_store_bytes_total{outcome="known"}'), 100)
  assert.equal(page.value('image_library_store_failures_total{code="unavailable",operation="block_put"}'), 1)
  assert.equal(page.sum('image_library_store_failures_total'), 2)
  assert.equal(page.value('image_library_store_operation_seconds_count{operation="block_put"}'), 2)
})

test('metrics: however much happens, there are a few thousand series at most', async () => {
  const { metrics } = open()
  const { onStoreTime, http, onAttempt, onRegistrationEnded } = createObserver(metrics)
  for (const operation of STORE_OPERATIONS)
    for (const outcome of ['done', 'missing', 'corrupt', 'unavailable', 'failed'] as const)
      onStoreTime({ operation, outcome, seconds: 1, bytes: 1 })
  for (const edge of ['api', 'console', 'orbit', 'probe', 'other'] as const)
    for (const method of ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'COPY', 'OPTIONS', 'OTHER'])
      for (const status of ['2xx', '3xx', '4xx', '5xx', 'gone'])
        http.onAnswered({ edge, method, status, seconds: 1, isLive: false })
  for (const kind of ['registration', 'snapshot', 'removal'])
    onAttempt({ kind, outcome: 'given back', ms: 5 })
  const codes = readFileSync(join(import.meta.dirname, '../../base/failure-codes.ts'), 'utf8').match(
    /^ {2}'?[\w-]+'?: \{/gm,
  )
  for (const code of codes ?? []) onRegistrationEnded(code)
  const page = await metrics.scrape()
  assert.ok(page.split('\n').length < 2000, `${page.split('\n').length} lines`)
  parseExposition(page)
})
