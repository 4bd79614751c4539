import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import { test } from 'node:test'
import { pino } from 'pino'
import { createApp } from './app.ts'
import { addForward } from './forward.ts'

interface Asked {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

type Answer = (response: ServerResponse, asked: Asked) => void

/** A process that answers, and one that has it answer. */
async function start({ answer = ok, patienceMs = 60_000 }: { answer?: Answer; patienceMs?: number } = {}) {
  const asked: Asked[] = []
  const sockets = new Set<Socket>()
  const other = createServer(async (raw, response) => {
    const { method, url, headers } = raw
    const one = { method, url, headers, body: await buffer(raw) }
    asked.push(one)
    answer(response, one)
  })
  other.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
  })
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  const app = await createApp({ logger: pino({ level: 'silent' }) })
  await addForward(app, {
    to: `http://127.0.0.1:${portOf(other)}`,
    prefixes: ['/1.0/servers', '/console'],
    upgrades: ['/console'],
    what: 'servers',
    patienceMs,
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const end = async () => {
    for (const socket of sockets) socket.destroy()
    other.close()
  }
  return {
    asked,
    other,
    app,
    end,
    port: portOf(app.server),
    async [Symbol.asyncDispose]() {
      await end()
      await app.close()
    },
  }
}

const portOf = (server: Server) => (server.address() as AddressInfo).port
const ok: Answer = (response) => response.end('{}')

/** A connection of our own, on which any header can be said. */
async function ask(port: number, method: string, path: string, headers: object = {}, body = '') {
  const sent = request({ port, method, path, headers: { ...headers }, agent: false })
  sent.end(body)
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  return { status: answer.statusCode, headers: answer.headers, text: await text(answer) }
}

test('forward: a request and its answer pass as they are, and keep the host that the client asked for', async () => {
  const body = JSON.stringify({ name: 'å', list: [1, 2] })
  await using process = await start({
    answer: (response) =>
      response
        .writeHead(201, { 'content-type': 'application/json', location: '/1.0/servers/x' })
        .end('{"a":1}'),
  })
  const headers = { host: 'cloud.example:99', authorization: 'Bearer t', 'content-type': 'application/json' }
  const answer = await ask(process.port, 'POST', '/1.0/servers/srv-1/stop?a=%2F&b', headers, body)
  assert.deepEqual([answer.status, answer.text], [201, '{"a":1}'])
  assert.equal(answer.headers.location, '/1.0/servers/x')
  const [seen] = process.asked
  assert.deepEqual([seen?.method, seen?.url], ['POST', '/1.0/servers/srv-1/stop?a=%2F&b'])
  assert.equal(seen?.headers.host, 'cloud.example:99')
  assert.equal(seen?.headers.authorization, 'Bearer t')
  assert.deepEqual(JSON.parse(String(seen?.body)), JSON.parse(body))
})

test('forward: both processes have one name for a request', async () => {
  await using process = await start()
  const answer = await ask(process.port, 'GET', '/1.0/servers')
  const name = answer.headers['x-request-id']
  assert.ok(name)
  assert.equal(process.asked[0]?.headers['x-request-id'], name)
  await ask(process.port, 'GET', '/1.0/servers', { 'x-request-id': 'given-by-client' })
  assert.equal(process.asked[1]?.headers['x-request-id'], 'given-by-client')
})

test('forward: what is said of one connection is not said on the other', async () => {
  const hops = { 'keep-alive': 'timeout=99', 'proxy-authenticate': 'Basic', trailer: 'x', upgrade: 'h2c' }
  await using process = await start({
    answer: (response) => response.writeHead(200, { ...hops, connection: 'close', 'x-own': '1' }).end('{}'),
  })
  const headers = {
    ...{ te: 'trailers', 'keep-alive': 'timeout=5', upgrade: 'h2c', 'proxy-authorization': 'Basic x' },
    ...{ connection: 'keep-alive, x-secret', 'x-secret': '1', 'x-plain': '1' },
  }
  const answer = await ask(process.port, 'GET', '/1.0/servers', headers)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['x-own'], '1')
  for (const name of Object.keys(hops)) assert.notEqual(answer.headers[name], hops[name as keyof typeof hops])
  const seen = process.asked[0]?.headers ?? {}
  assert.equal(seen['x-plain'], '1')
  for (const name of ['te', 'proxy-authorization', 'x-secret', 'upgrade'])
    assert.equal(seen[name], undefined, name)
})

test('forward: a client that waits for a 100 is served', async () => {
  await using process = await start()
  const headers = { expect: '100-continue', 'content-type': 'application/json' }
  assert.equal((await ask(process.port, 'POST', '/1.0/servers', headers, '{}')).status, 200)
  assert.equal(process.asked[0]?.headers.expect, undefined)
})

test('forward: a body that is too big or no JSON is refused here', async () => {
  await using process = await start()
  const type = { 'content-type': 'application/json' }
  const big = JSON.stringify('x'.repeat(300 * 1024))
  assert.equal((await ask(process.port, 'POST', '/1.0/servers', type, big)).status, 413)
  assert.equal((await ask(process.port, 'POST', '/1.0/servers', type, '{')).status, 400)
  assert.equal(process.asked.length, 0)
})

test('forward: JSON that is announced and not there passes, as official clients have it', async () => {
  await using process = await start()
  const type = { 'content-type': 'application/json' }
  assert.equal((await ask(process.port, 'POST', '/1.0/servers/srv-1/start', type)).status, 200)
  assert.equal((await ask(process.port, 'DELETE', '/1.0/servers/srv-1', type)).status, 200)
  assert.deepEqual(
    process.asked.map(({ body }) => body.length),
    [0, 0],
  )
})

test('forward: refusals pass, and are not asked for again', async () => {
  await using process = await start({
    answer: (response) => response.writeHead(503, { 'retry-after': '1' }).end('{"error_name":"unavailable"}'),
  })
  const answer = await ask(process.port, 'GET', '/1.0/servers')
  assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1'])
  assert.match(answer.text, /unavailable/)
  assert.equal(process.asked.length, 1)
})

test('forward: nobody there is a 503 that says so, for a request and for a console', async () => {
  await using process = await start()
  await process.end()
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket' }
  for (const headers of [{}, upgrade]) {
    const answer = await ask(process.port, 'GET', '/console/srv-1', headers)
    assert.equal(answer.status, 503)
    assert.match(answer.text, /the process that runs servers does not answer/)
    assert.ok(answer.headers['x-request-id'])
  }
})

test('forward: who does not answer in time counts as nobody there', async () => {
  await using process = await start({ answer: () => {}, patienceMs: 200 })
  assert.equal((await ask(process.port, 'GET', '/1.0/servers')).status, 503)
  process.other.on('upgrade', () => {})
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket' }
  assert.equal((await ask(process.port, 'GET', '/console/srv-1', upgrade)).status, 503)
})

test('forward: an answer that breaks off is not taken for a whole one', async () => {
  await using process = await start({
    answer: (response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('half', () => response.destroy())
    },
  })
  await assert.rejects(ask(process.port, 'GET', '/1.0/servers'), /aborted|hang up|ECONNRESET/)
})

test('forward: where no process is known, that is said', async () => {
  const app = await createApp({ logger: pino({ level: 'silent' }) })
  await addForward(app, { to: undefined, prefixes: ['/1.0/servers'], upgrades: [], what: 'servers' })
  for (const url of ['/1.0/servers', '/1.0/servers/srv-1']) {
    const { statusCode, body } = await app.inject(url)
    assert.equal(statusCode, 503)
    assert.match(body, /no process that runs servers is known here/)
  }
  await app.close()
})

/** Leaves HTTP as a WebSocket client does. */
async function upgrade(port: number, headers: object = {}) {
  const sent = request({
    port,
    path: '/console/srv-1/serial?password=p',
    headers: { ...{ connection: 'Upgrade', upgrade: 'websocket', host: 'cloud.example' }, ...headers },
  })
  sent.end()
  const [answer, socket, head] = (await once(sent, 'upgrade')) as [IncomingMessage, Socket, Buffer]
  return { answer, socket, head }
}

/** Leaves HTTP as well, and gives back what it is told. */
function echo(process: Awaited<ReturnType<typeof start>>, greeting = '') {
  const seen: IncomingMessage[] = []
  process.other.on('upgrade', (raw: IncomingMessage, socket: Socket) => {
    seen.push(raw)
    const protocol = 'sec-websocket-protocol: binary\r\n'
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${protocol}\r\n${greeting}`,
    )
    socket.on('data', (chunk) => void (socket.writable && socket.write(chunk)))
  })
  return seen
}

test('forward: a console is opened by the other process, whose bytes pass both ways', async () => {
  await using process = await start()
  const seen = echo(process, 'hello')
  const names = { 'sec-websocket-protocol': 'binary, token.abc', 'sec-websocket-key': 'k' }
  const { answer, socket, head } = await upgrade(process.port, names)
  assert.equal(answer.headers['sec-websocket-protocol'], 'binary')
  const raw = seen[0]
  assert.deepEqual([raw?.url, raw?.headers.host], ['/console/srv-1/serial?password=p', 'cloud.example'])
  assert.equal(raw?.headers['sec-websocket-protocol'], 'binary, token.abc')
  assert.equal(raw?.headers['sec-websocket-key'], 'k')
  let said = String(head)
  const big = 'x'.repeat(1024 * 1024)
  socket.write(big)
  for await (const chunk of socket) {
    said += chunk
    if (said.length === 'hello'.length + big.length) break
  }
  assert.equal(said, `hello${big}`)
})

test('forward: a console ends on one side when it ends on the other', async () => {
  await using process = await start()
  const ours: Socket[] = []
  process.other.on('upgrade', (_raw, socket: Socket) => {
    ours.push(socket)
    socket.once('end', () => socket.end())
    socket.resume().write('HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
  })
  const first = await upgrade(process.port)
  const gone = once(first.socket.resume(), 'close')
  ours[0]?.destroy()
  await gone
  const second = await upgrade(process.port)
  const left = once(ours[1] ?? first.socket, 'close')
  second.socket.destroy()
  await left
})

test('forward: who reads slowly holds back who writes', async () => {
  await using process = await start()
  let written = 0
  const stalled = Promise.withResolvers<void>()
  process.other.on('upgrade', (_raw, socket: Socket) => {
    socket.write('HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    const chunk = Buffer.alloc(64 * 1024)
    const go = () => {
      while (written < 1024 * chunk.length) {
        written += chunk.length
        if (socket.write(chunk)) continue
        const timer = setTimeout(stalled.resolve, 500)
        socket.once('drain', () => {
          clearTimeout(timer)
          go()
        })
        return
      }
      stalled.resolve()
    }
    go()
  })
  const { socket } = await upgrade(process.port)
  socket.pause()
  await stalled.promise
  assert.ok(written < 48 * 1024 * 1024, `${written} bytes were taken that nobody reads`)
  socket.destroy()
})

test('forward: a refused console is an ordinary answer', async () => {
  await using process = await start()
  process.other.on('upgrade', (_raw, socket: Socket) => {
    const body = '{"error_name":"missing_resource"}'
    socket.end(`HTTP/1.1 404 Not Found\r\nx-own: 1\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  })
  const answer = await ask(process.port, 'GET', '/console/srv-1', {
    connection: 'Upgrade',
    upgrade: 'websocket',
  })
  assert.deepEqual([answer.status, answer.headers['x-own']], [404, '1'])
  assert.match(answer.text, /missing_resource/)
})

test('forward: a stop ends consoles', async () => {
  const process = await start()
  echo(process)
  const { socket } = await upgrade(process.port)
  const gone = once(socket.resume(), 'close')
  await process[Symbol.asyncDispose]()
  await gone
})
