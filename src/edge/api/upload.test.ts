import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, test } from 'node:test'
import { INGESTED, startApi } from '../../../test/support/api-server.ts'

const seen: Buffer[] = []
const logged: string[] = []
const server = await startApi({
  silenceMs: 500,
  onLog: (line) => void logged.push(line),
  ingest: async ({ source }) => {
    if (source.kind === 'parts') {
      await using reader = await server.contents.openReader(source.parts)
      seen.push(
        Buffer.concat(await Array.fromAsync(reader.read(0, reader.size, new AbortController().signal))),
      )
    }
    return INGESTED
  },
})
after(() => server[Symbol.asyncDispose]())
const { call, url, token } = server
const content = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 253))

async function begin() {
  const { status, body } = await call('POST', '/1.0/images', { arch: 'x86_64', upload: true, name: 'up' })
  assert.equal(status, 201)
  return { id: body.id, path: `/1.0/images/${body.id}/upload` }
}

async function put(path: string, body: Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}${path}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream', ...headers },
    body,
  })
  return {
    status: response.status,
    offset: Number(response.headers.get('upload-offset')),
    body: (await response.json()) as { id: string; errors: string[] },
  }
}

const head = async (path: string) => Number((await call('HEAD', path)).headers.get('upload-offset'))

test('upload: the whole image in one request, whatever its content type', async () => {
  for (const type of ['application/octet-stream', 'application/json', 'application/x-www-form-urlencoded']) {
    const { id, path } = await begin()
    const answer = await put(path, content, { 'content-type': type })
    assert.deepEqual([answer.status, answer.body.id, answer.offset], [202, id, content.length])
    await server.jobs.poll()
    await server.jobs.settled()
    assert.equal((await call('GET', `/1.0/images/${id}`)).body.status, 'available')
    assert.deepEqual(seen.pop(), content)
  }
})

test('upload: in parts, each going on where the one before ended', async () => {
  const { id, path } = await begin()
  const total = content.length
  const part = (first: number, end: number) =>
    put(path, content.subarray(first, end), { 'content-range': `bytes ${first}-${end - 1}/${total}` })
  assert.equal(await head(path), 0)
  assert.deepEqual([(await part(0, 40_000)).status, await head(path)], [202, 40_000])
  const wrong = await part(50_000, total)
  assert.equal(wrong.status, 409)
  assert.match(wrong.body.errors[0] ?? '', /40000/)
  assert.equal((await part(40_000, total)).status, 202)
  await server.jobs.poll()
  await server.jobs.settled()
  assert.equal((await call('GET', `/1.0/images/${id}`)).body.status, 'available')
  assert.deepEqual(seen.pop(), content)
})

test('upload: a connection that breaks leaves what arrived, to go on from', async () => {
  const { id, path } = await begin()
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(
    `PUT ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${content.length}\r\n\r\n`,
  )
  socket.write(content.subarray(0, 30_000))
  // The bytes are on their way: what was received is asked for until it is there.
  const received = async () => (await call('GET', `/1.0/images/${id}`)).body.progress?.bytes_done ?? 0
  while ((await received()) < 30_000) await new Promise((resolve) => setImmediate(resolve))
  socket.destroy()
  await once(socket, 'close')
  // What came is written down once the server has noticed that the request is dead.
  while ((await head(path)) < 30_000) await new Promise((resolve) => setImmediate(resolve))
  const offset = await head(path)
  assert.equal(offset, 30_000)
  let rest = await put(path, content.subarray(offset), { 'content-range': `bytes ${offset}-99999/100000` })
  // The server may not have noticed yet that the first request is dead.
  for (let tries = 0; rest.status === 409 && tries < 100; tries++)
    rest = await put(path, content.subarray(offset), { 'content-range': `bytes ${offset}-99999/100000` })
  assert.equal(rest.status, 202)
  await server.jobs.poll()
  await server.jobs.settled()
  assert.deepEqual(seen.pop(), content)
})

test('upload: more bytes than announced, a malformed range and images that wait for nothing are refused', async () => {
  const { path } = await begin()
  assert.equal((await put(path, content, { 'content-range': 'bytes 0-9/10' })).status, 400)
  assert.equal((await put(path, content, { 'content-range': 'bytes 9-0/10' })).status, 400)
  const { body } = await call('POST', '/1.0/images', { arch: 'x86_64', http_url: 'http://example.com/d' })
  assert.equal((await put(`/1.0/images/${body.id}/upload`, content)).status, 409)
  assert.equal((await put('/1.0/images/img-zzzzz/upload', content)).status, 404)
})

test('upload: a refusal ends the connection of a client that would go on sending', async () => {
  const { path } = await begin()
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(
    `PUT ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\nContent-Range: bytes 7-99/100\r\n` +
      'Content-Length: 93\r\n\r\nfirst bytes',
  )
  let answer = ''
  for await (const chunk of socket) answer += chunk
  assert.match(answer, /^HTTP\/1\.1 409 .*^connection: close/ims)
})

test('upload: a client that goes away after its last byte is not needed any more', async () => {
  const { id, path } = await begin()
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(
    `PUT ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${content.length}\r\n\r\n`,
  )
  socket.end(content)
  await once(socket, 'finish')
  socket.destroy()
  let image = (await call('GET', `/1.0/images/${id}`)).body
  const deadline = Date.now() + 10_000
  while (image.status === 'creating' && Date.now() < deadline)
    image = (await call('GET', `/1.0/images/${id}`)).body
  assert.equal(image.status, 'available')
  assert.deepEqual(seen.pop(), content)
})

test('upload: a client that falls silent loses its connection, and the upload goes on at once', async () => {
  const { path } = await begin()
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  socket.resume()
  socket.write(
    `PUT ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\nContent-Length: 100000\r\n\r\n`,
  )
  socket.write(content.subarray(0, 3))
  await once(socket, 'close')
  while (!logged.some((line) => line.includes(path) && line.includes('the client went away')))
    await new Promise((resolve) => setImmediate(resolve))
  assert.equal(await head(path), 3)
  assert.equal(
    (await put(path, content.subarray(3), { 'content-range': 'bytes 3-99999/100000' })).status,
    202,
  )
  await server.jobs.poll()
  await server.jobs.settled()
  assert.deepEqual(seen.pop(), content)
})

test('upload: clients that go away are no errors of ours in the log', () => {
  assert.deepEqual(
    logged.filter((line) => JSON.parse(line).level >= 50),
    [],
  )
})
