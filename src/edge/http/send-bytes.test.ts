import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { LibraryError } from '#base/errors.ts'
import { createApp } from './app.ts'
import { type Representation, sendBytes } from './send-bytes.ts'

const content = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251))
const ETAG = '"v1"'
const MODIFIED = Date.UTC(2026, 0, 2)

/** Hands out one buffer again and again, as the readers of images do. */
async function* reuse(bytes: Uint8Array, chunkSize = 7) {
  const buffer = Buffer.alloc(chunkSize)
  for (let offset = 0; offset < bytes.length; offset += chunkSize) {
    const length = Math.min(chunkSize, bytes.length - offset)
    buffer.set(bytes.subarray(offset, offset + length))
    yield buffer.subarray(0, length)
    buffer.fill(255)
  }
}

async function listen(representation: Partial<Representation> = {}, logged: string[] = []) {
  const app = await createApp({ logger: pino({}, { write: (line) => void logged.push(line) }) })
  app.get('/file', { exposeHeadRoute: false }, answer)
  app.head('/file', answer)
  function answer(request: Parameters<typeof sendBytes>[0], reply: Parameters<typeof sendBytes>[1]) {
    return sendBytes(request, reply, {
      size: content.length,
      etag: ETAG,
      lastModified: MODIFIED,
      contentType: 'application/octet-stream',
      read: (offset, length) => reuse(content.subarray(offset, offset + length)),
      ...representation,
    })
  }
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/file`,
    get: (headers: Record<string, string> = {}, method = 'GET') =>
      fetch(`http://127.0.0.1:${port}/file`, { headers, method }),
    [Symbol.asyncDispose]: () => app.close(),
  }
}

const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer())

test('send bytes: the whole, with its length and validators', async () => {
  await using server = await listen()
  const response = await server.get()
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-length'), '1000')
  assert.equal(response.headers.get('etag'), ETAG)
  assert.equal(response.headers.get('accept-ranges'), 'bytes')
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
  assert.ok(response.headers.get('x-request-id'))
  assert.deepEqual(await bytesOf(response), content)
})

test('send bytes: HEAD has the same headers and no bytes', async () => {
  await using server = await listen()
  const response = await server.get({ range: 'bytes=0-1' }, 'HEAD')
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-length'), '1000')
  assert.equal((await bytesOf(response)).length, 0)
})

test('send bytes: one range', async () => {
  await using server = await listen()
  const response = await server.get({ range: 'bytes=-10' })
  assert.equal(response.status, 206)
  assert.equal(response.headers.get('content-range'), 'bytes 990-999/1000')
  assert.deepEqual(await bytesOf(response), content.subarray(990))
})

test('send bytes: several ranges travel as multipart, as long as announced', async () => {
  await using server = await listen()
  const response = await server.get({ range: 'bytes=0-4,500-509' })
  assert.equal(response.status, 206)
  const boundary = /boundary=(\w+)/.exec(response.headers.get('content-type') ?? '')?.[1]
  const body = await bytesOf(response)
  assert.equal(body.length, Number(response.headers.get('content-length')))
  const part = (first: number, last: number) =>
    `--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${first}-${last}/1000\r\n\r\n` +
    content.subarray(first, last + 1).toString('latin1')
  assert.equal(body.toString('latin1'), `${part(0, 4)}\r\n${part(500, 509)}\r\n--${boundary}--\r\n`)
})

test('send bytes: a range past the end is refused with the size', async () => {
  await using server = await listen()
  const response = await server.get({ range: 'bytes=1000-' })
  assert.equal(response.status, 416)
  assert.equal(response.headers.get('content-range'), 'bytes */1000')
  assert.equal(((await response.json()) as { error_name: string }).error_name, 'range_not_satisfiable')
})

test('send bytes: conditions are evaluated in their order', async () => {
  await using server = await listen()
  const date = new Date(MODIFIED).toUTCString()
  const cases: [Record<string, string>, number][] = [
    [{ 'if-none-match': ETAG }, 304],
    [{ 'if-none-match': `"v0", W/${ETAG}` }, 304],
    [{ 'if-none-match': '*' }, 304],
    [{ 'if-none-match': '"v0"', 'if-modified-since': date }, 200],
    [{ 'if-modified-since': date }, 304],
    [{ 'if-match': '"v0"' }, 412],
    [{ 'if-match': `W/${ETAG}` }, 412],
    [{ 'if-match': ETAG, 'if-none-match': ETAG }, 304],
    [{ 'if-unmodified-since': new Date(0).toUTCString() }, 412],
    [{ range: 'bytes=0-0', 'if-range': ETAG }, 206],
    [{ range: 'bytes=0-0', 'if-range': '"v0"' }, 200],
    [{ range: 'bytes=0-0', 'if-range': `W/${ETAG}` }, 200],
    [{ range: 'bytes=0-0', 'if-range': date }, 206],
    [{ range: 'bytes=0-0', 'if-range': new Date(0).toUTCString() }, 200],
  ]
  for (const [headers, status] of cases) {
    const response = await server.get(headers)
    assert.equal(response.status, status, JSON.stringify(headers))
    const body = await response.text()
    if (status === 412) assert.equal(JSON.parse(body).error_name, 'precondition_failed')
  }
})

test('send bytes: an error half-way breaks the connection instead of ending the answer', async () => {
  await using server = await listen({
    async *read() {
      yield content.subarray(0, 500)
      throw new Error('disk on fire')
    },
  })
  const response = await server.get()
  assert.equal(response.status, 200)
  await assert.rejects(response.arrayBuffer())
})

test('send bytes: fewer or more bytes than announced break the connection', async () => {
  for (const length of [999, 1001]) {
    await using server = await listen({ read: () => reuse(Buffer.alloc(length), 600) })
    await assert.rejects(server.get().then((response) => response.arrayBuffer()))
  }
})

test('send bytes: a client that goes away ends the reading', async () => {
  const ended = Promise.withResolvers<string>()
  const logged: string[] = []
  const representation: Partial<Representation> = {
    size: 1e12,
    async *read(_offset, _length, signal) {
      try {
        for (;;) {
          signal.throwIfAborted()
          yield Buffer.alloc(1 << 20)
        }
      } finally {
        ended.resolve('ended')
      }
    },
  }
  await using server = await listen(representation, logged)
  const request = httpRequest(server.url).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  await once(response, 'data')
  request.destroy()
  assert.equal(await ended.promise, 'ended')
  while (!logged.some((line) => line.includes('the client went away')))
    await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    logged.filter((line) => JSON.parse(line).level >= 50),
    [],
  )
})

test('bytes: a fault before the first one is answered with a status and nothing of the bytes', async () => {
  // biome-ignore lint/correctness/useYield: it fails before its first chunk
  async function* read(): AsyncGenerator<Uint8Array> {
    throw new LibraryError('corrupt', 'read block 1234: its checksum is wrong', { hint: 'check' })
  }
  await using server = await listen({ read })
  for (const headers of [{}, { range: 'bytes=5-9' }, { range: 'bytes=0-1, 5-9' }]) {
    const response = await fetch(server.url, { headers })
    assert.equal(response.status, 500)
    for (const name of ['etag', 'content-range', 'accept-ranges'])
      assert.equal(response.headers.get(name), null)
    const { error_name, errors } = (await response.json()) as { error_name: string; errors: string[] }
    assert.deepEqual(
      [error_name, errors[0]],
      ['stored_data_damaged', 'read block 1234: its checksum is wrong'],
    )
  }
})
