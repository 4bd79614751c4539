import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { LibraryError } from '#base/errors.ts'
import type { Auth, AuthResult } from '#control/auth/auth.ts'
import type { Library } from '#control/library/library.ts'
import type { Session } from '#model/session.ts'
import { needs } from '../../../test/support/tools.ts'
import { LISTENER_LIMITS, type NbdListenerLimits, startNbdListener } from './listener.ts'
import {
  ask,
  type Client,
  connectTo,
  diskOf,
  gather,
  goData,
  greet,
  isClosed,
  open,
  run,
  sendOption,
} from './nbd.fixtures.ts'
import { COMMAND, OPTION, REFUSED, REPLY } from './protocol.ts'
import { Wire } from './wire.ts'

const OWN = '1'.repeat(40)
const FOREIGN = '2'.repeat(40)
/** Of a user whose second account has the image. */
const USER = '3'.repeat(40)
const IMAGE = 'img-aaaaa'
const bytes = Buffer.alloc(30_000, 'image')

const sessionOf = (accountId: string): Session => ({
  accountId,
  clientId: 'cli-ccccc',
  userId: null,
  permissions: 'full',
  scopes: ['infrastructure', 'orbit'],
})

async function start(
  t: TestContext,
  options: { limits?: Partial<NbdListenerLimits>; tls?: { certificate: string; key: string } } = {},
) {
  const pins = { held: 0 }
  const said: unknown[] = []
  const clock = { now: 0 }
  const stays = new Set<AbortController>()
  const service = await startNbdListener({
    auth: {
      stays: {
        enter() {
          const stay = new AbortController()
          stays.add(stay)
          return { signal: stay.signal, [Symbol.dispose]: () => void stays.delete(stay) }
        },
      },
      accounts: {
        list: async () => [{ id: 'acc-bbbbb' }, { id: 'acc-aaaaa' }],
      } as unknown as Auth['accounts'],
      async authenticate(token, accountId = 'acc-bbbbb'): Promise<AuthResult<Session>> {
        if (token === USER) return { ok: true, value: { ...sessionOf(accountId), userId: 'usr-uuuuu' } }
        if (token === OWN) return { ok: true, value: sessionOf('acc-aaaaa') }
        if (token === FOREIGN) return { ok: true, value: sessionOf('acc-bbbbb') }
        return { ok: false, error: 'invalid_token', description: 'The access token is unknown.' }
      },
    },
    library: {
      use: (async ({ accountId }: Session, id: string) => {
        if (id === 'img-ddddd')
          throw new LibraryError('conflict', `image ${id} is creating: it has no bytes to read`)
        if (accountId !== 'acc-aaaaa' || id !== IMAGE)
          throw new LibraryError('not_found', `image ${id} does not exist`)
        return { manifest: 'ab'.repeat(32) }
      }) as unknown as Library['use'],
      acquirePins: async () => {
        pins.held++
        return { [Symbol.asyncDispose]: async () => void pins.held-- }
      },
    },
    openDisk: async () => diskOf(bytes),
    host: '127.0.0.1',
    port: 0,
    tls: options.tls,
    limits: { ...LISTENER_LIMITS, ...options.limits },
    now: () => clock.now,
    log: {
      error: (...words: unknown[]) => void said.push(words),
      info: (...words: unknown[]) => void said.push(words),
    },
  })
  t.after(() => service[Symbol.asyncDispose]())
  return { service, pins, said, clock, stays, connect: () => connectTo(service) }
}

async function readAll(client: Client): Promise<Buffer> {
  return gather(await run(client, { command: COMMAND.read, length: bytes.length }), 0, bytes.length)
}

test('listener: a token and an image open it, pinned while the connection is there', async (t) => {
  const { service, pins, said, connect } = await start(t)
  using client = await connect()
  assert.equal((await open(client, `${OWN}/${IMAGE}`)).at(-1)?.reply, REPLY.ack)
  assert.ok((await readAll(client)).equals(bytes))
  assert.equal(pins.held, 1)
  await service[Symbol.asyncDispose]()
  assert.ok(await isClosed(client))
  assert.equal(pins.held, 0)
  assert.match(JSON.stringify(said), /img-aaaaa/)
  assert.doesNotMatch(JSON.stringify(said), new RegExp(OWN))
})

test('listener: a connection ends with what let its bearer in, and others go on', async (t) => {
  const { pins, stays, connect } = await start(t)
  using client = await connect()
  await open(client, `${OWN}/${IMAGE}`)
  const [first] = stays
  using other = await connect()
  await open(other, `${OWN}/${IMAGE}`)
  first?.abort()
  assert.ok(await isClosed(client))
  assert.ok((await readAll(other)).equals(bytes))
  assert.equal(stays.size, 1)
  assert.equal(pins.held, 1)
})

test('listener: a user reads the images of all his accounts', async (t) => {
  const { said, connect } = await start(t)
  using client = await connect()
  await greet(client)
  assert.equal((await ask(client, OPTION.go, goData(`${USER}/img-zzzzz`)))[0]?.reply, REFUSED.unknown)
  assert.equal((await ask(client, OPTION.go, goData(`${USER}/${IMAGE}`))).at(-1)?.reply, REPLY.ack)
  assert.match(JSON.stringify(said), /acc-aaaaa/)
})

test('listener: what is foreign and what is not there look alike; names are not listed', async (t) => {
  const { pins, connect } = await start(t)
  using client = await connect()
  await greet(client)
  const refusals = []
  for (const name of [`${FOREIGN}/${IMAGE}`, `${OWN}/img-zzzzz`, `${OWN}/..`, `${OWN}/${IMAGE}/x`, OWN])
    refusals.push(...(await ask(client, OPTION.go, goData(name))))
  assert.equal(new Set(refusals.map(({ reply, data }) => `${reply} ${data}`)).size, 1)
  assert.equal(refusals[0]?.reply, REFUSED.unknown)
  assert.match(String((await ask(client, OPTION.go, goData(`${OWN}/img-ddddd`)))[0]?.data), /is creating/)
  assert.equal((await ask(client, OPTION.list))[0]?.reply, REFUSED.policy)
  assert.equal(pins.held, 0)
})

test('listener: whoever has no good token must wait longer and longer', async (t) => {
  const { connect, clock } = await start(t)
  using client = await connect()
  await greet(client)
  for (let count = 0; count < 5; count++)
    assert.equal((await ask(client, OPTION.go, goData(`x${count}/${IMAGE}`)))[0]?.reply, REFUSED.policy)
  assert.equal((await ask(client, OPTION.go, goData(`${OWN}/${IMAGE}`)))[0]?.reply, REFUSED.shutdown)
  using other = await connect()
  assert.ok(await isClosed(other))
  clock.now += 2000
  assert.equal((await ask(client, OPTION.go, goData(`${OWN}/${IMAGE}`))).at(-1)?.reply, REPLY.ack)
})

test('listener: connections are counted in all, by address and by account, and their ends too', async (t) => {
  for (const limits of [{ connections: 2 }, { perAddress: 2 }]) {
    const { connect } = await start(t, { limits })
    using first = await connect()
    using second = await connect()
    await greet(first)
    await greet(second)
    using third = await connect()
    assert.ok(await isClosed(third))
    await ask(first, OPTION.abort)
    assert.ok(await isClosed(first))
    using fourth = await connect()
    await greet(fourth)
  }
  const { connect, pins } = await start(t, { limits: { perAccount: 1 } })
  using first = await connect()
  await open(first, `${OWN}/${IMAGE}`)
  using second = await connect()
  const refused = await open(second, `${OWN}/${IMAGE}`)
  assert.equal(refused[0]?.reply, REFUSED.policy)
  assert.equal(pins.held, 1)
})

test('listener: an account has no more connections than it leaves to others', async (t) => {
  const { connect, pins } = await start(t, { limits: { connections: 4 } })
  const clients = [await connect(), await connect(), await connect()] as const
  using _all = { [Symbol.dispose]: () => clients.forEach((client) => void client[Symbol.dispose]()) }
  await open(clients[0], `${OWN}/${IMAGE}`)
  await open(clients[1], `${OWN}/${IMAGE}`)
  const refused = await open(clients[2], `${OWN}/${IMAGE}`)
  assert.notEqual(refused[0]?.reply, REPLY.ack)
  assert.match(String(refused[0]?.data), /too many connections read images/)
  assert.equal(pins.held, 2)
})

async function makeCertificate(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'nbd-tls-'))
  t.after(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'pki'))
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'pki', 'ca-cert.pem')]
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', certificate, ...names], {
    stdio: 'pipe',
  })
  const read = (path: string) => readFile(path, 'utf8')
  return { tls: { certificate: await read(certificate), key: await read(key) }, pki: join(folder, 'pki') }
}

/** Goes on over TLS, on the client's side. */
async function secure(client: Client, ca: string): Promise<Client> {
  assert.equal((await ask(client, OPTION.startTls))[0]?.reply, REPLY.ack)
  client.wire.release()
  const socket = connectTls({ socket: client.socket, ca, host: '127.0.0.1' })
  await once(socket, 'secureConnect')
  return { socket, wire: new Wire(socket, undefined), [Symbol.dispose]: () => void socket.destroy() }
}

test('listener: with a certificate, nothing is told before TLS', needs('openssl'), async (t) => {
  const { tls } = await makeCertificate(t)
  const { connect, pins } = await start(t, { tls })
  using plain = await connect()
  await greet(plain)
  for (const option of [
    OPTION.go,
    OPTION.info,
    OPTION.list,
    OPTION.structuredReply,
    OPTION.setMetaContext,
    99,
  ])
    assert.equal((await ask(plain, option, goData(`${OWN}/${IMAGE}`)))[0]?.reply, REFUSED.tlsRequired)
  using client = await secure(plain, tls.certificate)
  assert.equal((await ask(client, OPTION.startTls))[0]?.reply, REFUSED.invalid)
  await ask(client, OPTION.structuredReply)
  assert.equal((await ask(client, OPTION.go, goData(`${OWN}/${IMAGE}`))).at(-1)?.reply, REPLY.ack)
  assert.ok((await readAll(client)).equals(bytes))
  assert.equal(pins.held, 1)

  using named = await connect()
  await greet(named)
  await sendOption(named, OPTION.exportName, Buffer.from(`${OWN}/${IMAGE}`))
  assert.ok(await isClosed(named))
})

test('listener: what is sent along with the wish for TLS does not count', needs('openssl'), async (t) => {
  const { tls } = await makeCertificate(t)
  const { connect } = await start(t, { tls, limits: { negotiationMs: 500 } })
  using client = await connect()
  await greet(client)
  const startTls = Buffer.concat([Buffer.from('IHAVEOPT'), Buffer.from([0, 0, 0, 5, 0, 0, 0, 0])])
  await client.wire.send(Buffer.concat([startTls, startTls]))
  await client.wire.read(20)
  assert.ok(await isClosed(client))
  // Nor does one who begins no TLS stay.
  using silent = await connect()
  await greet(silent)
  await ask(silent, OPTION.startTls)
  assert.ok(await isClosed(silent))
  await assert.rejects(start(t, { tls: { certificate: 'no', key: 'no' } }), /nbd\.certificate and nbd\.key/)
})

test('listener: nbdinfo comes in over TLS', needs('openssl', 'nbdinfo'), async (t) => {
  const { tls, pki } = await makeCertificate(t)
  const { service } = await start(t, { tls })
  const uri = `nbds://127.0.0.1:${service.port}/${OWN}/${IMAGE}?tls-certificates=${pki}`
  const child = spawn('nbdinfo', ['--size', uri], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [out] = await once(child.stdout, 'data')
  assert.equal(Number(out), bytes.length)
})
