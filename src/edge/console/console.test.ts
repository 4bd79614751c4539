import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { WebSocket } from 'ws'
import { LibraryError } from '#base/errors.ts'
import { createApp } from '#edge/http/app.ts'
import {
  CONSOLE_TOKEN,
  createFakeServers,
  fakeServer,
  fakeShown,
} from '../../../test/support/fake-servers.ts'
import { createRandom } from '../../../test/support/random-disk.ts'
import { addConsole, type ConsoleDeps } from './console.ts'

const PATH = '/console/srv-12345'
const GOOD = `?password=${CONSOLE_TOKEN}`

async function startConsole(options: Partial<ConsoleDeps> = {}) {
  const servers = createFakeServers()
  const lines: string[] = []
  const logger = pino({ level: 'trace' }, { write: (line) => lines.push(line) })
  const app = await createApp({ logger })
  const stays = new Set<AbortController>()
  const auth = {
    stays: {
      enter() {
        const stay = new AbortController()
        stays.add(stay)
        return { signal: stay.signal, [Symbol.dispose]: () => void stays.delete(stay) }
      },
    },
  }
  await addConsole(app, { servers, auth, pingMs: 60_000, ...options })
  app.get('/plain', async () => ({ plain: true }))
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const attach = async (path: string, protocols?: string[]) => {
    const client = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols)
    client.on('error', () => {})
    // Listened to from the start: what the guest says first may come with the handshake.
    const received: Buffer[] = []
    client.on('message', (data: Buffer) => received.push(data))
    await once(client, 'open')
    const guest = servers.consoles.at(-1)?.guest
    assert.ok(guest)
    return { client, guest, received }
  }
  return {
    app,
    servers,
    stays,
    lines,
    port,
    attach,
    ask: (path: string, headers: Record<string, string> = {}, method = 'GET') =>
      ask(port, path, headers, method),
    [Symbol.asyncDispose]: () => app.close(),
  }
}

/** Asks for an upgrade, or whatever the headers say, and reads an ordinary answer. */
async function ask(port: number, path: string, headers: Record<string, string>, method: string) {
  const request = httpRequest({ host: '127.0.0.1', port, path, headers, method }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const body = Buffer.concat(await Array.fromAsync(response)).toString()
  return { status: response.statusCode, headers: response.headers, body: body && JSON.parse(body) }
}

const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': Buffer.alloc(16).toString('base64'),
}

const closeOf = async (client: WebSocket) => {
  const [code, reason] = (await once(client, 'close')) as [number, Buffer]
  return [code, reason.toString()]
}

/** Reads from a stream until it has given so many bytes. */
async function take(stream: NodeJS.ReadableStream, length: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let taken = 0
  while (taken < length) {
    const part = stream.read() as Buffer | null
    if (part === null) await once(stream, 'readable')
    else {
      parts.push(part)
      taken += part.length
    }
  }
  return Buffer.concat(parts)
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

test('console: bytes go both ways in binary messages, what was said before first', async () => {
  await using server = await startConsole()
  server.servers.backlog = Buffer.from('login: ')
  const { client, guest, received } = await server.attach(`${PATH}/serial${GOOD}`)
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  guest.write(all)
  await until(() => Buffer.concat(received).length >= 263)
  assert.deepEqual(Buffer.concat(received), Buffer.concat([Buffer.from('login: '), all]))
  client.send(all)
  client.send('root\n')
  assert.deepEqual(await take(guest, 261), Buffer.concat([all, Buffer.from('root\n')]))
  assert.deepEqual(server.servers.calls, [['attachConsole', 'srv-12345', CONSOLE_TOKEN, 'serial']])
  client.close()
  await closeOf(client)
})

test('console: ends when who opened it is let in no more, though its client is deaf', async () => {
  await using server = await startConsole()
  const [{ client }, other] = [
    await server.attach(`${PATH}/serial${GOOD}`),
    await server.attach(`${PATH}${GOOD}`),
  ]
  assert.equal(server.stays.size, 2)
  const [first] = server.stays
  const closed = closeOf(client)
  first?.abort()
  assert.deepEqual(await closed, [1008, 'who opened it is let in no more'])
  await until(() => server.servers.consoles[0]?.stream.destroyed === true)
  other.client.send('still here')
  assert.equal(String(await take(other.guest, 10)), 'still here')
  other.client.close()
  await closeOf(other.client)
  await until(() => server.stays.size === 0)
})

test('console: the address by itself and …/vnc are the screen, and the token can be a subprotocol', async () => {
  await using server = await startConsole()
  const token = `token.${CONSOLE_TOKEN}`
  const ways = [
    [`${PATH}${GOOD}`, undefined, ''],
    [`${PATH}/vnc${GOOD}`, ['binary'], 'binary'],
    [`${PATH}/vnc`, [token, 'binary'], 'binary'],
  ] as const
  for (const [path, protocols, chosen] of ways) {
    const { client, guest } = await server.attach(path, protocols && [...protocols])
    assert.equal(client.protocol, chosen)
    assert.equal(server.servers.consoles.at(-1)?.kind, 'vnc')
    guest.write('RFB 003.008\n')
    const [message, isBinary] = await once(client, 'message')
    assert.deepEqual([String(message), isBinary], ['RFB 003.008\n', true])
    client.close()
    await closeOf(client)
    await until(() => guest.readableEnded || guest.destroyed || guest.read() === null)
  }
})

test("console: a browser's client attaches with a token that is in no address", async () => {
  await using server = await startConsole()
  const address = `ws://127.0.0.1:${server.port}${PATH}/vnc`
  const client = new globalThis.WebSocket(address, ['binary', `token.${CONSOLE_TOKEN}`])
  client.binaryType = 'arraybuffer'
  await once(client, 'open')
  assert.equal(client.protocol, 'binary')
  server.servers.consoles[0]?.guest.write('RFB 003.008\n')
  const [message] = (await once(client, 'message')) as [{ data: ArrayBuffer }]
  assert.equal(Buffer.from(message.data).toString(), 'RFB 003.008\n')
  client.close()
  await once(client, 'close')
})

test('console: a wrong token, none, an expired one and an unknown server are refused alike', async () => {
  await using server = await startConsole()
  const expired = new LibraryError('not_found', 'there is no such console')
  const refusals: unknown[] = []
  for (const [path, refusal] of [
    [`${PATH}/serial?password=wrong`, undefined],
    [`/console/srv-xxxxx/serial${GOOD}`, undefined],
    [`${PATH}/serial${GOOD}`, expired],
  ] as const) {
    server.servers.refusal = refusal
    const { status, body } = await server.ask(path, UPGRADE)
    refusals.push([status, body.error_name, body.errors])
  }
  assert.deepEqual(
    refusals,
    Array.from({ length: 3 }, () => [404, 'missing_resource', ['there is no such console']]),
  )
  const none = await server.ask(`${PATH}/serial`, UPGRADE)
  assert.deepEqual([none.status, none.body.error_name], [404, 'missing_resource'])
  assert.match(none.body.hint, /activate_console/)
  const twice = await server.ask(`${PATH}/serial${GOOD}&password=${CONSOLE_TOKEN}`, UPGRADE)
  assert.equal(twice.status, 404)
  assert.equal(server.servers.consoles.length, 0)
})

test('console: a server that does not run is a conflict', async () => {
  await using server = await startConsole()
  server.servers.refusal = new LibraryError('conflict', 'server srv-12345 does not run')
  const { status, body } = await server.ask(`${PATH}/serial${GOOD}`, UPGRADE)
  assert.deepEqual([status, body.errors], [409, ['server srv-12345 does not run']])
})

test('console: without an upgrade the answer names what there is, whoever asks', async () => {
  await using server = await startConsole()
  for (const headers of [{}, { connection: 'Upgrade', upgrade: 'h2c' }]) {
    for (const path of [`${PATH}${GOOD}`, '/console/srv-xxxxx/serial', `${PATH}/vnc`]) {
      const { status, body, ...answer } = await server.ask(path, headers as Record<string, string>)
      assert.deepEqual([status, body.error_name], [426, 'upgrade_required'])
      assert.equal(answer.headers.upgrade, 'websocket')
      assert.match(body.errors[0], /\/console\/srv-\w+\/serial .*\/console\/srv-\w+\/vnc/)
    }
  }
  assert.deepEqual(server.servers.calls, [])
})

test('console: an upgrade elsewhere, by another method or to another protocol is passed over', async () => {
  await using server = await startConsole()
  assert.deepEqual((await server.ask('/plain', UPGRADE)).body, { plain: true })
  assert.deepEqual((await server.ask('/plain', { connection: 'Upgrade', upgrade: 'h2c' })).status, 200)
  assert.equal((await server.ask(`${PATH}/other${GOOD}`, UPGRADE)).status, 404)
  assert.equal((await server.ask('/console/%zz/serial', UPGRADE)).status, 400)
  assert.equal((await server.ask(`${PATH}/serial${GOOD}`, UPGRADE, 'POST')).status, 404)
})

test('console: a handshake that is none leaves no console attached', async () => {
  await using server = await startConsole()
  const request = httpRequest({
    port: server.port,
    host: '127.0.0.1',
    path: `${PATH}/serial${GOOD}`,
    headers: { ...UPGRADE, 'sec-websocket-key': 'nonsense' },
  }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  assert.equal(response.statusCode, 400)
  const { guest } = server.servers.consoles[0]!
  guest.resume()
  if (!guest.readableEnded) await once(guest, 'end')
})

test('console: the end of the server ends the client with a reason, after the last bytes', async () => {
  await using server = await startConsole()
  const { client, guest, received } = await server.attach(`${PATH}/serial${GOOD}`)
  guest.end('reboot: Power down')
  assert.deepEqual(await closeOf(client), [1000, 'the server stopped or closed it'])
  assert.equal(Buffer.concat(received).toString(), 'reboot: Power down')
})

test('console: one that breaks ends the client with another reason', async () => {
  await using server = await startConsole()
  const { client } = await server.attach(`${PATH}/serial${GOOD}`)
  server.servers.consoles[0]?.stream.destroy(new Error('read ECONNRESET'))
  assert.deepEqual(await closeOf(client), [1011, 'the console broke off'])
})

test('console: one that breaks before the handshake is through ends the client, and nothing else', async () => {
  await using server = await startConsole()
  const attachConsole = server.servers.attachConsole
  server.servers.attachConsole = async (...asked) => {
    const console = await attachConsole(...asked)
    console.stream.destroy(new Error('read ECONNRESET'))
    return console
  }
  const client = new WebSocket(`ws://127.0.0.1:${server.port}${PATH}/vnc${GOOD}`)
  assert.deepEqual(await closeOf(client), [1011, 'the console broke off'])
})

test('console: a client that goes away, politely or not, ends its console', async () => {
  await using server = await startConsole()
  for (const leave of [(client: WebSocket) => client.close(), (client: WebSocket) => client.terminate()]) {
    const { client, guest } = await server.attach(`${PATH}/serial${GOOD}`)
    leave(client)
    guest.resume()
    await once(guest, 'end')
  }
})

test('console: what a client said before it left reaches the guest', async () => {
  await using server = await startConsole()
  const { client, guest } = await server.attach(`${PATH}/serial${GOOD}`)
  const said = Buffer.alloc(200 * 1024, 3)
  client.send(said)
  client.close()
  assert.equal((await take(guest, said.length)).length, said.length)
  guest.resume()
  await once(guest, 'end')
})

test('console: a client that does not read makes the guest wait, and loses nothing', async () => {
  await using server = await startConsole()
  const { client, guest, received } = await server.attach(`${PATH}/vnc${GOOD}`)
  client.pause()
  const chunk = Buffer.alloc(64 * 1024, 7)
  let written = 0
  // Until kernel buffers are full, and then for good.
  while (guest.write(chunk) || (await drainedSoon(guest))) written += chunk.length
  written += chunk.length
  assert.ok(written < 64 * 1024 * 1024, `${written} bytes were taken from the guest`)
  client.resume()
  guest.end()
  assert.deepEqual(await closeOf(client), [1000, 'the server stopped or closed it'])
  assert.equal(Buffer.concat(received).length, written)
})

/** Whether a stream takes more within the time that a loopback connection needs many times over. */
async function drainedSoon(stream: NodeJS.WritableStream): Promise<boolean> {
  const signal = AbortSignal.timeout(300)
  return once(stream, 'drain', { signal }).then(
    () => true,
    () => false,
  )
}

test('console: a guest that does not read makes the client wait, and loses nothing', async () => {
  await using server = await startConsole({ pingMs: 20 })
  const { client, guest } = await server.attach(`${PATH}/serial${GOOD}`)
  const message = Buffer.alloc(64 * 1024, 5)
  let sent = 0
  // Silence while the guest does not read is no reason to end.
  while (client.bufferedAmount < 1024 * 1024) {
    client.send(message)
    sent += message.length
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(guest.readableLength <= 256 * 1024)
  assert.equal((await take(guest, sent)).length, sent)
  assert.equal(client.readyState, WebSocket.OPEN)
  client.terminate()
})

test('console: whatever pieces bytes come in, and whoever is slow when, all arrive in order', async (t) => {
  const seed = randomInt(2 ** 31)
  t.diagnostic(`seed ${seed}`)
  const next = createRandom(seed)
  const random = (below: number) => Math.floor(next() * below)
  await using server = await startConsole({ pingMs: 5 })
  const { client, guest, received } = await server.attach(`${PATH}/serial${GOOD}`)
  // The guest repeats what it hears, at its own pace.
  const echo = (async () => {
    for await (const chunk of guest) {
      if (random(4) === 0) await new Promise((resolve) => setImmediate(resolve))
      if (!guest.write(chunk)) await once(guest, 'drain')
    }
  })()
  const sent: Buffer[] = []
  for (let index = 0; index < 300; index++) {
    const chunk = Buffer.alloc(random(index % 10 === 0 ? 200_000 : 300), random(256))
    sent.push(chunk)
    client.send(chunk)
    if (random(20) === 0) client.pause()
    if (random(5) === 0) await new Promise((resolve) => setImmediate(resolve))
    client.resume()
  }
  const all = Buffer.concat(sent)
  await until(() => received.reduce((sum, { length }) => sum + length, 0) >= all.length)
  assert.ok(Buffer.concat(received).equals(all))
  client.close()
  await closeOf(client)
  await echo
})

test('console: a message that is too long ends the connection', async () => {
  await using server = await startConsole()
  const { client, guest } = await server.attach(`${PATH}/serial${GOOD}`)
  client.send(Buffer.alloc(256 * 1024 + 1))
  const [code] = await closeOf(client)
  assert.equal(code, 1009)
  guest.resume()
  if (!guest.readableEnded) await once(guest, 'end')
})

test('console: a client that answers no ping is cut off', async () => {
  await using server = await startConsole({ pingMs: 20 })
  const client = new WebSocket(`ws://127.0.0.1:${server.port}${PATH}/serial${GOOD}`, { autoPong: false })
  client.on('error', () => {})
  await once(client, 'open')
  const [code] = await closeOf(client)
  assert.equal(code, 1006)
})

test('console: so many may attach to one server and to all, and room is given back', async () => {
  await using server = await startConsole({ most: { all: 4, ofOne: 2 } })
  const path = `${PATH}/serial${GOOD}`
  const first = await server.attach(path)
  const second = await server.attach(path)
  const { status, body } = await server.ask(path, UPGRADE)
  assert.deepEqual([status, body.error_name], [409, 'resource_conflict'])
  assert.match(body.errors[0], /^2 clients are attached to the consoles of server srv-12345$/)
  // Whoever has no token learns nothing about that.
  assert.equal((await server.ask(`${PATH}/serial?password=wrong`, UPGRADE)).status, 404)
  first.client.close()
  second.client.close()
  await Promise.all([closeOf(first.client), closeOf(second.client)])
  for (const { guest } of server.servers.consoles) guest.resume()
  await (await server.attach(path)).client.close()
})

test('console: an account has as many places as it leaves to others, who may find none', async () => {
  await using server = await startConsole({ most: { all: 4, ofOne: 4 } })
  const asOf = (accountId: string) => {
    server.servers.shown = fakeShown({ server: fakeServer({ accountId }) })
  }
  const refused = async () => {
    const { status, headers } = await server.ask(`${PATH}/serial${GOOD}`, UPGRADE)
    assert.deepEqual([status, headers['retry-after']], [503, '5'])
  }
  const clients: Awaited<ReturnType<typeof server.attach>>[] = []
  for (const [accountId, places] of [
    ['acc-aaaaa', 2],
    ['acc-bbbbb', 1],
    ['acc-ccccc', 0],
  ] as const) {
    asOf(accountId)
    for (let place = 0; place < places; place++) clients.push(await server.attach(`${PATH}/serial${GOOD}`))
    await refused()
  }
  for (const { client } of clients) client.terminate()
})

test('console: a stop of the library ends clients, also those that do not read', async () => {
  const server = await startConsole()
  const polite = await server.attach(`${PATH}/serial${GOOD}`)
  const deaf = await server.attach(`${PATH}/serial${GOOD}`)
  deaf.client.pause()
  const ended = closeOf(polite.client)
  const started = performance.now()
  await server.app.close()
  assert.deepEqual(await ended, [1001, 'the library is stopping'])
  assert.ok(performance.now() - started < 10_000)
  deaf.client.terminate()
})

test('console: no line of the log has a token', async () => {
  const server = await startConsole()
  const { client } = await server.attach(`${PATH}/serial${GOOD}`)
  client.send(Buffer.alloc(300_000))
  await closeOf(client)
  const other = await server.attach(`${PATH}/vnc`, [`token.${CONSOLE_TOKEN}`, 'binary'])
  other.client.close()
  await closeOf(other.client)
  await server.ask(`${PATH}/serial?password=${CONSOLE_TOKEN}x`, UPGRADE)
  await server.ask(`${PATH}${GOOD}`)
  await server.ask(`${PATH}/nothing${GOOD}`, UPGRADE)
  server.servers.refusal = new Error('a bug')
  assert.equal((await server.ask(`${PATH}/serial${GOOD}`, UPGRADE)).status, 500)
  await server.app.close()
  assert.ok(server.lines.some((line) => line.includes('console attached')))
  assert.ok(server.lines.some((line) => line.includes('console detached')))
  assert.deepEqual(
    server.lines.filter((line) => line.includes(CONSOLE_TOKEN)),
    [],
  )
})

test('console: who goes on with wrong tokens is told to wait, and the right one always opens', async () => {
  let now = 0
  await using server = await startConsole({ now: () => now })
  const guess = () => server.ask(`${PATH}/serial?password=wrong`, UPGRADE)
  for (let n = 0; n < 5; n++) assert.equal((await guess()).status, 404)
  const { status, headers, body } = await guess()
  assert.deepEqual([status, headers['retry-after'], body.error_name], [429, '1', 'too_many_requests'])
  const { client } = await server.attach(`${PATH}/serial${GOOD}`)
  client.terminate()
  now += 1000
  assert.equal((await guess()).status, 404)
  assert.equal((await guess()).headers['retry-after'], '2')
})
