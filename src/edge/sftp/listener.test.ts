import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { exampleBytes } from '#data/content/content.fixtures.ts'
import { type SftpServiceOptions, startSftpService } from './listener.ts'
import { openFixture } from './sftp.fixtures.ts'
import { logIn } from './ssh-client.fixtures.ts'

async function start(
  t: TestContext,
  { quota, ...change }: Partial<SftpServiceOptions> & { quota?: number } = {},
) {
  const fixture = await openFixture(t, { quota })
  const { storePlace, spoolDirectory, auth, orbit } = fixture
  const kept = { open: 0 }
  const logged: string[] = []
  const service = await startSftpService({
    host: '127.0.0.1',
    port: 0,
    keyFolder: join(dirname(storePlace), 'ssh'),
    connections: 10,
    perAddress: 10,
    perLogin: 10,
    processes: 2,
    auth,
    orbit,
    keep: async () => {
      kept.open++
      return { [Symbol.asyncDispose]: async () => void kept.open-- }
    },
    setup: {
      storePlace,
      spoolDirectory,
      reserve: undefined,
      threads: 1,
      limits: { graceMs: 10_000, tries: 6, idleMs: 60_000, handles: 256 },
    },
    now: Date.now,
    log: pino({ level: 'warn' }, { write: (line) => void logged.push(line) }),
    ...change,
  })
  t.after(() => service.stop(0))
  return { ...fixture, kept, logged, service, login: (config = {}) => logIn(t, service.port, config) }
}

const children = () =>
  readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number)

test('service: connections are served by other processes, each with bytes of its own', async (t) => {
  const { login, read, kept, service, logged } = await start(t)
  const others = new Set(children())
  const bytes = exampleBytes(3_000_000)
  const clients = await Promise.all([login(), login(), login()])
  assert.equal(children().filter((pid) => !others.has(pid)).length, 2)
  await Promise.all(
    clients.map(async ({ sftp }, index) => {
      const { read: get, write } = await sftp()
      await write(`/c/${index}`, bytes)
      assert.ok((await get(`/c/${index}`)).equals(bytes))
    }),
  )
  assert.ok((await read('2')).equals(bytes))
  assert.equal(kept.open, 0)
  const closed = clients.map((client) => client.closed)
  await service.stop(100)
  await Promise.all(closed)
  assert.deepEqual(
    children().filter((pid) => !others.has(pid)),
    [],
  )
  assert.deepEqual(logged, [])
})

test('service: a process that dies takes its connections along, and nothing else', async (t) => {
  const { login, kept, names, logged, deps, account } = await start(t, { perLogin: 2, quota: 100_000_000 })
  const others = new Set(children())
  const first = await login()
  const [process1] = children().filter((pid) => !others.has(pid))
  const second = await login()
  const { sftp } = await first.sftp()
  const writer = sftp.createWriteStream('/c/a')
  writer.on('error', () => {})
  writer.write(exampleBytes(3_000_000))
  while (kept.open === 0 || deps.promised.sum(`account ${account}`) === 0) await delay(10)
  process.kill(process1!, 'SIGKILL')
  await first.closed
  const { list, write } = await second.sftp()
  assert.deepEqual(await list('/c'), [])
  // Its login does not count any more, and another process takes its place.
  const third = await login()
  await (await third.sftp()).write('/c/b', Buffer.from('x'))
  await write('/c/d', Buffer.from('x'))
  assert.deepEqual(await names(), ['b', 'd'])
  assert.equal(kept.open, 0)
  assert.equal(deps.promised.sum(`account ${account}`), 0)
  assert.match(String(logged), /a process for SFTP ended/)
})

test('service: a connection ends with what let it in, also in the middle of a file', async (t) => {
  const { login, stays, names, read } = await start(t)
  const first = await login()
  const second = await login({ username: 'other' })
  const { sftp } = await first.sftp()
  const writer = sftp.createWriteStream('/c/half')
  writer.on('error', () => {})
  await new Promise((resolve) => writer.write(exampleBytes(300_000), resolve))
  const [stay] = stays
  stay?.abort()
  await first.closed
  await second.sftp()
  const { write } = await (await login()).sftp()
  await write('/c/whole', Buffer.from('x'))
  assert.deepEqual(await names(), ['whole'])
  assert.equal(String(await read('whole')), 'x')
})

test('service: connections are counted, in all and of one login', async (t) => {
  const { login } = await start(t, { perLogin: 1, perAddress: 3 })
  const { client, closed } = await login()
  await assert.rejects(login(), /authentication methods failed/)
  await login({ username: 'other' })
  await login({ username: 'storage' })
  await assert.rejects(login({ username: 'storage' }), /handshake|ECONNRESET|closed/i)
  client.end()
  await closed
  while (true) {
    try {
      await login()
      return
    } catch {
      // Its end is known to the client first.
      await delay(20)
    }
  }
})

test('service: an address that guesses is not let in for a while', async (t) => {
  let now = Date.now()
  const { login, service } = await start(t, { now: () => now })
  for (let count = 0; count < 5; count++) await assert.rejects(login({ password: 'wrong' }), /methods failed/)
  const socket = connect(service.port, '127.0.0.1')
  socket.on('error', () => {}).on('data', () => assert.fail('nobody answers'))
  await once(socket, 'close')
  now += 3600_000
  await login()
})

test('service: a port that is taken is an error', async (t) => {
  const { service } = await start(t)
  await assert.rejects(start(t, { port: service.port }), { code: 'EADDRINUSE' })
})
