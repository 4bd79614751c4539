import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { startApi } from '../../../test/support/api-server.ts'

const server = await startApi()
after(() => server[Symbol.asyncDispose]())
const { call, url } = server

interface EventBody {
  id: string
  sequence: number
  action: string
  message: string
  resource: { id: string; resource_type: string; url: string }
  client: { id: string } | null
}

async function register() {
  const { body } = await call('POST', '/1.0/images', {
    arch: 'x86_64',
    http_url: 'http://example.com/disk.img',
  })
  await server.jobs.poll()
  await server.jobs.settled()
  return body.id
}

/** Opens a live stream; `next` gives the following event. */
async function stream(path: string, headers: Record<string, string> = {}) {
  const abort = new AbortController()
  const response = await fetch(`${url}${path}`, {
    headers: { authorization: `Bearer ${server.token}`, accept: 'text/event-stream', ...headers },
    signal: abort.signal,
  })
  async function* events() {
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const [, id, data] = /^id: (\d+)\ndata: (.*)$/.exec(text.slice(0, end)) ?? []
        text = text.slice(end + 2)
        if (id !== undefined && data !== undefined) yield { id, data: JSON.parse(data) as EventBody }
      }
    }
  }
  const reader = events()
  return {
    response,
    next: async () => (await reader.next()).value ?? assert.fail('the stream ended'),
    [Symbol.dispose]: () => abort.abort(),
  }
}

test('events: what happened to an image, oldest first', async () => {
  const id = await register()
  const { status, body } = await call<EventBody[]>('GET', `/1.0/images/${id}/events`)
  assert.equal(status, 200)
  assert.equal(body[0]?.action, 'image.registered')
  assert.equal(body.at(-1)?.action, 'image.available')
  assert.deepEqual(body[0]?.resource, { id, resource_type: 'image', url: `${url}/1.0/images/${id}` })
  assert.equal(body[0]?.client?.id, server.client.id)
  const later = await call<EventBody[]>('GET', `/1.0/images/${id}/events?after=${body[0]?.sequence}&limit=1`)
  assert.deepEqual(later.body, [body[1]])
  const all = await call<EventBody[]>('GET', '/1.0/events')
  assert.ok(all.body.length >= body.length)
})

test('events: a stream gives those before it, then each as it happens', async () => {
  const id = await register()
  using live = await stream(`/1.0/images/${id}/events`)
  assert.equal(live.response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  let event = await live.next()
  assert.equal(event.data.action, 'image.registered')
  while (event.data.action !== 'image.available') event = await live.next()
  await call('PUT', `/1.0/images/${id}/lock_resource`)
  event = await live.next()
  assert.equal(event.data.action, 'image.locked')
  assert.equal(event.id, String(event.data.sequence))
})

test('events: a stream that was lost goes on where it ended', async () => {
  const id = await register()
  const { body } = await call<EventBody[]>('GET', `/1.0/images/${id}/events`)
  using live = await stream(`/1.0/images/${id}/events`, { 'last-event-id': String(body.at(-2)?.sequence) })
  assert.equal((await live.next()).data.id, body.at(-1)?.id)
})

test('events: what cannot be streamed is refused before the stream begins', async () => {
  using unknown = await stream('/1.0/images/img-zzzzz/events')
  assert.equal(unknown.response.status, 404)
  using noServer = await stream('/1.0/servers/srv-zzzzz/events')
  assert.equal(noServer.response.status, 404)
  const { body } = await call<{ errors: string[] }>('GET', '/1.0/servers/srv-zzzzz/events')
  assert.deepEqual(body.errors, ['server srv-zzzzz does not exist'])
  using malformed = await stream('/1.0/events', { 'last-event-id': 'x' })
  assert.equal(malformed.response.status, 422)
  for (const query of ['after=-1', 'after=x', 'limit=0', 'limit=1001'])
    assert.equal((await call('GET', `/1.0/events?${query}`)).status, 422, query)
})
