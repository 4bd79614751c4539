import assert from 'node:assert/strict'
import { type AddressInfo, createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { KiB, MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { SourceFailure } from '#base/refusal.ts'
import { endless, file, head, raw, startWebServer, type WebServer } from '../../../test/support/web-server.ts'
import { openHttpSource } from './http-source.ts'
import { readHead } from './response-head.ts'

const CHUNKED = head(200, { 'transfer-encoding': 'chunked' })

let server: WebServer
before(async () => {
  server = await startWebServer()
})
after(() => server[Symbol.asyncDispose]())

const open = (url: string, signal = new AbortController().signal) =>
  openHttpSource({ url, allowSource: ['127.0.0.1/32'], limits: DEFAULT_LIMITS, signal })

async function download(behaviour: Parameters<WebServer['on']>[1]): Promise<string> {
  server.on('/', behaviour)
  await using source = await open(server.url('/'))
  let text = ''
  for await (const chunk of source.stream) text += Buffer.from(chunk).toString('latin1')
  return text
}

const passing = (message: RegExp) => ({ category: 'source', retryable: true, message })

test('response: damaged chunks are a lost connection, not an end', async () => {
  const bodies = [
    '\r\n',
    'x\r\n',
    '-1\r\n',
    '0x5\r\n',
    '5\rx',
    '5\n\nhello',
    '5\r\nhelloX',
    '5\r\nhello\r\r\n',
  ]
  const tooLong = [`${'f'.repeat(17)}\r\n`, `0\r\n${'A: b\r\n'.repeat(9000)}`]
  for (const body of [...bodies, ...tooLong]) {
    const failure = passing(/lost after [05] bytes, and the server gives no way to go on/)
    await assert.rejects(download(raw(CHUNKED, body)), failure, JSON.stringify(body.slice(0, 20)))
  }
})

test('response: cut short anywhere, a body with a known end is never whole', async () => {
  for (const connection of ['keep-alive', 'close']) {
    const bodies = {
      [head(200, { connection, 'transfer-encoding': 'chunked' })]: '5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n',
      [head(200, { connection, 'content-length': 10 })]: 'helloworld',
    }
    for (const [begin, body] of Object.entries(bodies)) {
      for (let length = 0; length < body.length; length++) {
        await assert.rejects(download(raw(begin, body.slice(0, length))), passing(/lost after \d+ bytes/))
      }
      assert.equal(await download(raw(begin, body)), 'helloworld')
    }
  }
})

test('response: a body without a length ends with its connection, but not where that is reset', async () => {
  assert.equal(await download(raw(head(200), 'all of it')), 'all of it')
  const received = Promise.withResolvers<void>()
  server.on('/', (_request, socket) => {
    socket.write(`${head(200)}a part`)
    received.promise.then(() => socket.resetAndDestroy())
  })
  await using source = await open(server.url('/'))
  await assert.rejects(
    async () => {
      for await (const _chunk of source.stream) received.resolve()
    },
    passing(/lost after 6 bytes/),
  )
})

test('response: arbitrary bytes are a body or a failure, never a crash or a hang', async () => {
  const letters = fc.constantFrom(...'HTTP/1.1 200 OK\r\n\r\n: ;0aFf\t\u0000x'.split(''))
  const text = fc.array(letters, { maxLength: 200 }).map((parts) => parts.join(''))
  const begin = fc.constantFrom('', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 103 Early Hints\r\n\r\n', CHUNKED)
  await fc.assert(
    fc.asyncProperty(begin, text, text, async (start, first, second) => {
      try {
        await download(raw(start, Buffer.from(first, 'latin1'), Buffer.from(second, 'latin1')))
      } catch (error) {
        assert.ok(error instanceof SourceFailure, String(error))
        // What a stranger sent must not get into a log.
        for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
          assert.ok(!('data' in cause))
        }
      }
    }),
  )
})

test('response: the connection rests while nobody reads, after a mebibyte or some hundred tiny chunks', async () => {
  server.on('/endless', endless)
  server.on('/tiny', raw(CHUNKED, '1\r\nx\r\n'.repeat(200_000)))
  for (const [path, least, most] of [
    ['/endless', MiB, MiB + 128 * KiB],
    ['/tiny', 256, 256],
  ] as const) {
    await using source = await open(server.url(path))
    while (source.received() < least) await delay(1)
    await delay(20)
    assert.ok(source.received() <= most, `${path}: ${source.received()}`)
  }
})

test('response: a server may close behind its last byte while the connection rests', async () => {
  // Exactly what the queue holds: its last byte is what makes the connection rest.
  server.on('/', file(Buffer.alloc(MiB, 'x')))
  await using source = await open(server.url('/'))
  while (source.received() < MiB) await delay(5)
  await delay(50)
  let length = 0
  for await (const chunk of source.stream) length += chunk.length
  assert.equal(length, MiB)
})

test('response: cancelling ends a connection that is still being made', async () => {
  const accepted = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<void>()
  const mute = createServer((socket) => {
    socket.on('error', () => {}).on('close', () => closed.resolve())
    // The greeting of TLS, which is never answered.
    socket.once('data', () => accepted.resolve())
  })
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  try {
    const controller = new AbortController()
    const { port } = mute.address() as AddressInfo
    const opening = open(`https://127.0.0.1:${port}/`, controller.signal)
    const reason = new Error('cancelled')
    accepted.promise.then(() => controller.abort(reason))
    await assert.rejects(opening, reason)
    await closed.promise
  } finally {
    mute.close()
  }
})

test('response head: doubles and strange values are not told, a location is, whatever it holds', () => {
  const headers = {
    etag: '"a" ',
    x: ['1', '2'],
    y: 'caf\u00e9',
    location: 'caf\u00e9',
    'content-length': '7',
  }
  const answer = readHead(200, headers)
  assert.equal(answer.length, 7)
  assert.equal(answer.header('etag'), '"a"')
  assert.equal(answer.header('x'), undefined)
  assert.equal(answer.header('y'), undefined)
  assert.equal(answer.header('location'), 'caf\u00e9')
  assert.equal(answer.header('constructor'), undefined)
  assert.throws(() => readHead(200, { 'transfer-encoding': 'gzip, chunked' }), { category: 'source' })
})
