import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { createApp } from './app.ts'

async function listen(connections: { total: number; perAddress: number }) {
  const app = await createApp({ logger: pino({ level: 'silent' }), connections })
  const released = Promise.withResolvers<void>()
  app.get('/now', async () => 'now')
  app.get('/later', async () => {
    await released.promise
    return 'later'
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  async function open(from = '127.0.0.1') {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from })
    const answer = { text: '' }
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      answer.text += chunk
    })
    const closed = once(socket, 'close')
    await once(socket, 'connect')
    const get = async (path: string) => {
      const [arrived] = path === '/later' ? [once(app.server, 'request')] : [once(socket, 'data')]
      socket.write(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`)
      await arrived
    }
    return { socket, answer, closed, get }
  }
  return {
    open,
    release: () => released.resolve(),
    async [Symbol.asyncDispose]() {
      released.resolve()
      app.server.closeAllConnections()
      await app.close()
    },
  }
}

test('connections: hundreds that ask for nothing, or for half of something, keep nobody out', async () => {
  await using server = await listen({ total: 20, perAddress: 20 })
  const idle: Awaited<ReturnType<typeof server.open>>[] = []
  for (let i = 0; i < 300; i++) {
    const one = await server.open()
    if (i % 2 === 0) one.socket.write('GET /now HTTP/1.1\r\nX-Slow: ')
    idle.push(one)
  }
  const normal = await server.open()
  await normal.get('/now')
  assert.match(normal.answer.text, /^HTTP\/1.1 200/)
  await Promise.all(idle.slice(0, 280).map(({ closed }) => closed))
})

test('connections: a request under way is never ended for a new one, which is told so', async () => {
  await using server = await listen({ total: 9, perAddress: 2 })
  const [one, other] = [await server.open(), await server.open()]
  await one.get('/later')
  await other.get('/later')
  const third = await server.open()
  await third.closed
  assert.match(third.answer.text, /^HTTP\/1.1 503 .*Retry-After: 5.*too many connections/s)
  // Another address has places of its own.
  const stranger = await server.open('127.0.0.2')
  await stranger.get('/now')
  assert.match(stranger.answer.text, /200 OK/)
  const answered = once(one.socket, 'data')
  server.release()
  await answered
  assert.match(one.answer.text, /later$/)
})

test('connections: one that is kept after an answer waits as if it were new', async () => {
  await using server = await listen({ total: 2, perAddress: 2 })
  const [one, other] = [await server.open(), await server.open()]
  await one.get('/now')
  const third = await server.open()
  await other.closed
  await one.get('/now')
  await third.get('/now')
  assert.match(third.answer.text, /200 OK/)
})
