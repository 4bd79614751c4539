import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { context, propagation, trace } from '@opentelemetry/api'
import pino from 'pino'
import { logFields } from '#base/log-context.ts'
import { recordSpans } from '../../../test/support/spans.ts'
import { acceptUpgrades, createApp } from './app.ts'
import { addProbes } from './probes.ts'
import { type Answered, edgeOf } from './request-scope.ts'

async function open(t: TestContext) {
  const answered: Answered[] = []
  const begun: string[] = []
  const seen: unknown[] = []
  const app = await createApp({
    logger: pino({ level: 'silent' }),
    observer: { onBegun: (edge) => begun.push(edge), onAnswered: (end) => answered.push(end) },
  })
  addProbes(app, async () => ['the library is stopping'])
  app.get('/fields', async () => {
    await new Promise((resolve) => setImmediate(resolve))
    seen.push(trace.getActiveSpan()?.spanContext().traceId)
    return logFields()
  })
  app.get('/slow', async (_request, reply) => {
    reply.hijack()
    reply.raw.write('the first bytes')
  })
  t.after(() => app.close())
  await app.listen({ host: '127.0.0.1', port: 0 })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const get = (path: string, headers: Record<string, string> = {}) => fetch(`${url}${path}`, { headers })
  return { app, url, get, answered, begun, seen }
}

test('request id: the one that a client gives is taken where it is well-formed, and else made', async (t) => {
  const { get } = await open(t)
  for (const given of ['abcdefgh', '01HZX.y:z-9_', 'x'.repeat(128)]) {
    const answer = await get('/fields', { 'x-request-id': given })
    assert.equal(answer.headers.get('x-request-id'), given)
    assert.deepEqual(await answer.json(), { reqId: given })
  }
  for (const given of ['', 'short', 'a b c d e f', '"},{"level":50', 'x'.repeat(129), '\u00fcmlaut-12345']) {
    const answer = await get('/fields', { 'x-request-id': given })
    const id = answer.headers.get('x-request-id') ?? ''
    assert.match(id, /^[\da-f]{8}-[\da-f-]{27}$/)
    assert.deepEqual(await answer.json(), { reqId: id })
  }
})

test('request ids: many at once do not mix', async (t) => {
  const { get } = await open(t)
  const ids = Array.from({ length: 50 }, (_, index) => `request-${index}`)
  const told = await Promise.all(ids.map(async (id) => (await get('/fields', { 'x-request-id': id })).json()))
  assert.deepEqual(
    told,
    ids.map((reqId) => ({ reqId })),
  )
})

test('requests: each is counted once, by edge, method and class; one whose client left, as gone', async (t) => {
  const { url, get, answered, begun } = await open(t)
  await get('/healthz')
  assert.equal((await get('/readyz')).status, 503)
  await get('/1.0/nothing?access_token=secret')
  const sent = request(`${url}/slow`).end()
  const [response] = await once(sent, 'response')
  response.destroy()
  while (answered.length < 4) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    answered.map(({ edge, method, status }) => `${edge} ${method} ${status}`),
    ['probe GET 2xx', 'probe GET 5xx', 'api GET 4xx', 'other GET gone'],
  )
  assert.equal(begun.length, 4)
})

test('requests: a WebSocket is one for as long as its connection is open', async (t) => {
  const { app, url, answered, begun } = await open(t)
  acceptUpgrades(app, (path) => path.startsWith('/console/'))
  const accepted = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'
  app.server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {}).on('end', () => socket.destroy())
    socket.resume().write(accepted)
  })
  const headers = { connection: 'upgrade', upgrade: 'websocket' }
  const [, socket] = await once(request(`${url}/console/srv-12345`, { headers }).end(), 'upgrade')
  assert.deepEqual([begun, answered], [['console'], []])
  socket.destroy()
  while (answered.length === 0) await new Promise((resolve) => setImmediate(resolve))
  const [{ edge, method, status, isLive } = {}] = answered
  assert.deepEqual([edge, method, status, isLive], ['console', 'GET', '1xx', true])
})

test('edges: they are told by the beginning of an address', () => {
  for (const [url, edge] of [
    ['/1.0/images', 'api'],
    ['/1.0?x', 'api'],
    ['/1.00', 'other'],
    ['/token', 'api'],
    ['/tokens', 'other'],
    ['/console/srv-12345/serial?password=x', 'console'],
    ['/readyz?x', 'probe'],
    ['/', 'other'],
    ['*', 'other'],
  ] as const)
    assert.equal(edgeOf(url), edge, url)
})

test('spans: a request goes on with the trace of its client, and says how it ended', async (t) => {
  const spans = recordSpans(t)
  const { get, seen } = await open(t)
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  await (await get('/fields?secret=1', { traceparent: `00-${traceId}-b7ad6b7169203331-01` })).text()
  await (await get('/readyz', { traceparent: 'nonsense' })).text()
  while (spans.length < 2) await new Promise((resolve) => setImmediate(resolve))
  const [first, second] = spans
  assert.equal(first?.name, 'GET other')
  assert.equal(first?.traceId, traceId)
  assert.equal(first?.parentId, 'b7ad6b7169203331')
  assert.equal(first?.attributes['url.path'], '/fields')
  assert.equal(first?.attributes['http.response.status_code'], 200)
  assert.equal(first?.isError, false)
  assert.deepEqual(seen, [traceId], 'work inside belongs to it')
  assert.equal(second?.isError, true)
  assert.equal(second?.parentId, undefined)
  assert.notEqual(second?.traceId, traceId)
})

test('spans: without an SDK there are none, and requests are answered all the same', async (t) => {
  const { get, seen } = await open(t)
  assert.equal((await get('/fields', { traceparent: 'x' })).status, 200)
  assert.deepEqual(seen, [undefined])
  assert.equal(propagation.fields().length, 0)
  assert.ok(context.active())
})
