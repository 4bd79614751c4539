import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { standingOf } from '#control/auth/standing.ts'
import type { Session } from '#model/session.ts'
import { MACHINE_FILES } from './qemu/machine.ts'
import { SerialConsole } from './serial-console.ts'
import { buildRunning, FakeTimers, openServers, type ServersFixture } from './servers.fixtures.ts'

/** A guest's serial port, as QEMU offers it, and a console on it. */
async function open() {
  const folder = await mkdtemp(join(tmpdir(), 'console-'))
  const { timer } = new FakeTimers()
  const warnings: string[] = []
  const log = { info: () => {}, warn: (_: object, text: string) => warnings.push(text), error: () => {} }
  const server = createServer()
  server.listen(join(folder, MACHINE_FILES.serial))
  await once(server, 'listening')
  const connected = once(server, 'connection') as Promise<[Socket]>
  const console = new SerialConsole({ folder, timer, log: { ...log, warn: log.warn } })
  const [guest] = await connected
  return {
    ...{ folder, console, guest, warnings },
    async [Symbol.asyncDispose]() {
      await console[Symbol.asyncDispose]()
      guest.destroy()
      server.close()
      await rm(folder, { recursive: true })
    },
  }
}

/** Reads until so many bytes came. */
async function readText(stream: Duplex, length: number): Promise<string> {
  let text = ''
  stream.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  while (text.length < length) await once(stream, 'data')
  return text
}

async function say(guest: Socket, text: string) {
  await new Promise<void>((resolve) => guest.write(text, () => resolve()))
}

test('serial console: all who attach see the same, latecomers the last 64 KiB, and it is logged', async () => {
  await using at = await open()
  const [one, two] = [at.console.attach(), at.console.attach()]
  await say(at.guest, 'login: ')
  assert.deepEqual(await Promise.all([readText(one.stream, 7), readText(two.stream, 7)]), [
    'login: ',
    'login: ',
  ])
  one.stream.write('root\n')
  assert.equal(String((await once(at.guest, 'data'))[0]), 'root\n')
  const rest = readText(two.stream, 100_000)
  await say(at.guest, 'x'.repeat(100_000))
  await rest
  const { backlog } = at.console.attach()
  assert.deepEqual([backlog.length, backlog[0]], [64 * 1024, 'x'.charCodeAt(0)])
  await at.console[Symbol.asyncDispose]()
  assert.match(await readFile(join(at.folder, 'serial.log'), 'latin1'), /^login: x{100}/)
  assert.equal((await stat(join(at.folder, 'serial.log'))).mode & 0o777, 0o600)
})

test('serial console: a client that does not read is dropped, and nobody waits for it', async () => {
  await using at = await open()
  const [slow, quick] = [at.console.attach(), at.console.attach()]
  const all = readText(quick.stream, 3_000_000)
  const closed = once(slow.stream, 'close')
  await say(at.guest, 'y'.repeat(3_000_000))
  await Promise.all([all, closed])
  assert.equal(slow.stream.destroyed, true)
})

test('serial console: when the server stops, clients see the end of it', async () => {
  await using at = await open()
  const { stream } = at.console.attach()
  const ended = once(stream, 'end')
  stream.resume()
  await at.console[Symbol.asyncDispose]()
  await ended
})

test('serial console: a link in place of the log is not followed, a long log makes room', async () => {
  await using at = await open()
  const victim = join(at.folder, 'victim')
  await writeFile(victim, 'mine')
  await symlink(victim, join(at.folder, 'serial.log'))
  await say(at.guest, 'hello')
  while (at.warnings.length === 0) await turn()
  assert.equal(await readFile(victim, 'utf8'), 'mine')
  await rm(join(at.folder, 'serial.log'))
  await writeFile(join(at.folder, 'serial.log'), 'z'.repeat(1024 * 1024))
  await say(at.guest, 'again')
  const { stream } = at.console.attach()
  // Between the two there is none for a moment.
  const logged = () => readFile(join(at.folder, 'serial.log'), 'utf8').catch(() => '')
  while (!(await logged()).startsWith('again')) await turn()
  assert.equal((await stat(join(at.folder, 'serial.log.1'))).size, 1024 * 1024)
  stream.destroy()
})

test('serial console: a base in place of the log is not written to, and that is told once', async () => {
  await using at = await open()
  const log = join(at.folder, 'serial.log')
  await writeFile(log, 'base', { mode: 0o444 })
  const { stream } = at.console.attach()
  for (let count = 1; count <= 5; count++) {
    const heard = once(stream, 'data')
    await say(at.guest, 'hello')
    await heard
    while (at.warnings.length === 0) await turn()
  }
  stream.destroy()
  await at.console[Symbol.asyncDispose]()
  assert.equal(await readFile(log, 'utf8'), 'base')
  assert.equal(at.warnings.length, 1)
})

test('serial console: only so many may attach', async () => {
  await using at = await open()
  for (let count = 0; count < 16; count++) at.console.attach()
  assert.throws(() => at.console.attach(), { code: 'conflict' })
})

/** The owner, as a client that there is. */
async function insider({ catalog, library }: ServersFixture): Promise<Session> {
  const { accountId } = library.owner
  const made = { accountId, name: null, description: null, createdAt: 0, revokedAt: null }
  const { id } = await catalog.apiClients.insert({ ...made, permissions: 'full' }, '0'.repeat(64))
  const owner = { ...library.owner, clientId: id }
  return { ...owner, standing: await standingOf(catalog, owner) }
}

test('console token: opens this server alone, for a quarter of an hour, until the next one is made', async () => {
  await using at = await openServers()
  const { servers, library } = at
  const owner = await insider(at)
  const id = await buildRunning(at)
  const other = await buildRunning(at)
  const { consoleToken: first = '', server } = await servers.activateConsole(owner, id)
  assert.equal(JSON.stringify(server).includes(first), false)
  await servers.attachConsole(id, first, 'serial')
  await assert.rejects(servers.attachConsole(other, first, 'serial'), { code: 'not_found' })
  await assert.rejects(servers.attachConsole('srv-nowhe', first, 'serial'), { code: 'not_found' })
  await assert.rejects(servers.attachConsole(id, '', 'serial'), { code: 'not_found' })
  await assert.rejects(servers.activateConsole(library.other, id), { code: 'not_found' })
  const { consoleToken: second = '' } = await servers.activateConsole(owner, id)
  await assert.rejects(servers.attachConsole(id, first, 'serial'), { code: 'not_found' })
  await servers.attachConsole(id, second, 'serial')
  await assert.rejects(servers.attachConsole(id, second, 'vnc'), { code: 'unavailable' })
  library.clock.at += 15 * 60 * 1000
  await assert.rejects(servers.attachConsole(id, second, 'serial'), { code: 'not_found' })
  const { consoleToken: third = '' } = await servers.activateConsole(owner, id)
  await servers.stop(owner, id)
  await at.until(async () => (await at.statusOf(id)) === 'inactive')
  await assert.rejects(servers.attachConsole(id, third, 'serial'), { code: 'conflict' })
})

test('console token: is void once who made it is let in no more', async () => {
  await using at = await openServers()
  const { servers, catalog } = at
  const owner = await insider(at)
  const id = await buildRunning(at)
  const open = async () => (await servers.activateConsole(owner, id)).consoleToken ?? ''
  const changes = [{ secretSha256: '1'.repeat(64) }, { permissions: 'storage' }, { revokedAt: 1 }] as const
  for (const change of changes) {
    const again = { ...owner, standing: await standingOf(catalog, owner) }
    const { consoleToken: token = '' } = await servers.activateConsole(again, id)
    const { holder } = await servers.attachConsole(id, token, 'serial')
    assert.equal(holder.standing, again.standing)
    await catalog.apiClients.update(owner.clientId ?? '', change)
    await assert.rejects(servers.attachConsole(id, token, 'serial'), { code: 'not_found' })
  }
  // Whoever acts on a session of before makes none that would open.
  await assert.rejects(servers.attachConsole(id, await open(), 'serial'), { code: 'not_found' })
})
