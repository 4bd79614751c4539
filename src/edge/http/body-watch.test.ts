import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { createApp } from './app.ts'

const SILENCE_MS = 200

async function listen(silenceMs = SILENCE_MS) {
  const app = await createApp({ logger: pino({ level: 'silent' }), silenceMs })
  const received = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  app.post('/echo', async (request) => request.body)
  app.post('/early', { onRequest: async (_request, reply) => reply.code(401).send({}) }, async () => ({}))
  app.addContentTypeParser(
    'application/x-slow',
    async (_request: unknown, payload: AsyncIterable<Buffer>) => {
      received.resolve()
      await released.promise
      return (await Array.fromAsync(payload)).join('')
    },
  )
  app.get('/slow', async () => {
    await released.promise
    return 'done'
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const send = (head: string, body = '') => {
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(`${head} HTTP/1.1\r\nHost: h\r\n${body}`)
    const answer = { text: '' }
    socket.on('data', (chunk) => {
      answer.text += chunk
    })
    return { socket, answer, closed: once(socket, 'close') }
  }
  return {
    app,
    send,
    received: received.promise,
    release: released.resolve,
    [Symbol.asyncDispose]: () => app.close(),
  }
}

const JSON_OF_100 = 'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{'

test('body watch: a client that owes bytes and is silent loses its connection', async () => {
  await using server = await listen()
  const partly = server.send('POST /echo', JSON_OF_100)
  const chunked = server.send(
    'POST /echo',
    'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
  )
  const answered = server.send('POST /early', JSON_OF_100)
  await Promise.all([partly.closed, chunked.closed, answered.closed])
  assert.match(answered.answer.text, /^HTTP\/1.1 401 /)
})

test('body watch: a client that sends a byte now and then is not silent', async () => {
  await using server = await listen()
  const { socket, answer, closed } = server.send(
    'POST /echo',
    'Content-Type: application/json\r\nContent-Length: 8\r\nConnection: close\r\n\r\n',
  )
  let sent = 0
  const timer = setInterval(() => socket.write('12345678'[sent++] ?? ''), SILENCE_MS / 3)
  socket.on('data', () => clearInterval(timer))
  await closed
  clearInterval(timer)
  assert.match(answer.text, /^HTTP\/1.1 200 [\s\S]*12345678$/)
})

test('body watch: neither our own slowness nor a long answer counts', async () => {
  await using server = await listen(40)
  const slow = server.send(
    'POST /echo',
    'Content-Type: application/x-slow\r\nContent-Length: 8\r\nConnection: close\r\n\r\n1234',
  )
  const long = server.send('GET /slow', 'Connection: close\r\n\r\n')
  const silent = server.send('POST /early', JSON_OF_100)
  await server.received
  // By then a silent one has been found.
  await silent.closed
  slow.socket.write('5678')
  server.release()
  await Promise.all([slow.closed, long.closed])
  assert.match(slow.answer.text, /^HTTP\/1.1 200 [\s\S]*12345678$/)
  assert.match(long.answer.text, /^HTTP\/1.1 200 [\s\S]*done$/)
})

test('body watch: a stop waits for no body', { timeout: 10_000 }, async () => {
  const server = await listen(60_000)
  const { closed } = server.send(
    'POST /echo',
    'Content-Type: application/x-slow\r\nContent-Length: 8\r\n\r\n1',
  )
  await server.received
  server.release()
  await server.app.close()
  await closed
})
