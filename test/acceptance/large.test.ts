import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { WebSocket } from 'ws'
import { MiB } from '#base/bytes.ts'
import { callerOf, fetchToken } from '../support/api-server.ts'
import { LARGE, type LargeLibrary, type Member, startLargeLibrary } from '../support/large-library.ts'
import { endMachines } from '../support/machines.ts'
import { firstUser, logIn, type OrbitUser, sftpPort } from '../support/orbit.ts'
import { download, forEach, type ImageJson, register, settled, sha256Of } from '../support/registration.ts'
import { buildServer, type ServerJson, serverIs, serverSettings } from '../support/servers.ts'
import { needs } from '../support/tools.ts'

const PATIENCE_MS = 60_000
const QUOTA = 20 * MiB

/** A disk that comes as fast as the test says. */
async function startSource() {
  const disk = Buffer.concat([randomBytes(3 * MiB), Buffer.alloc(MiB), randomBytes(512)])
  disk.writeUInt16BE(0x55aa, 510)
  const waiting = new Set<ServerResponse>()
  let most = 0
  const server = createServer((request, response) => {
    response.on('error', () => {})
    response.setHeader('content-length', disk.length)
    if (request.url !== '/slow') return response.end(disk)
    response.write(disk.subarray(0, 2 * MiB))
    waiting.add(response)
    most = Math.max(most, waiting.size)
    response.once('close', () => waiting.delete(response))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    sha256: createHash('sha256').update(disk).digest('hex'),
    disk,
    waiting,
    /** That waited at once. */
    most: () => most,
    /** The rest of all that wait. */
    release() {
      for (const response of waiting) response.end(disk.subarray(2 * MiB))
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Waits, by asking, until something is so. */
async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; !(await isSo()); ) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('a library of many processes', needs(...LARGE, 'sftp', 'sshpass'), () => {
  let folder: string
  let source: Awaited<ReturnType<typeof startSource>>
  let library: LargeLibrary
  let servers: Member
  let first: Member
  let second: Member
  let orbit: Member
  let sftp: Member
  let owner: OrbitUser
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'large-test-'))
    source = await startSource()
    library = await startLargeLibrary({
      settings: {
        ...{ 'registrations.concurrent': '2', 'registrations.per_account': '2' },
        ...{ 'accounts.quota': `${QUOTA}`, 'source.allow': '127.0.0.0/8' },
        ...serverSettings(),
      },
    })
    // At once, on a database that is empty.
    ;[servers, second] = await Promise.all([library.start('servers'), library.start('api, orbit')])
    ;[first, orbit, sftp] = await Promise.all([
      library.start('api', { 'servers.url': servers.url }),
      library.start('orbit'),
      library.start('sftp'),
      library.start('worker'),
      library.start('worker'),
    ])
    owner = await firstUser({ ...orbit, config: first.config })
  })
  after(async () => {
    if (servers) await endMachines(servers.data)
    await library?.[Symbol.asyncDispose]()
    await source?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const show = async (member: Member, id: string) =>
    (await member.api<ImageJson>('GET', `/1.0/images/${id}`)).body

  test('processes that begin at once on an empty database make one account', async () => {
    const accounts = await library.command('account', 'list')
    assert.equal(accounts.match(/acc-\w{5}/g)?.length, 1, accounts)
    const clients = await library.command('client', 'list')
    assert.equal(clients.match(/cli-\w{5}/g)?.length, 1, clients)
    for (const member of [first, second, servers])
      assert.equal((await member.api('GET', '/1.0/images')).status, 200)
  })

  test('what one registers, another does, a third shows live, and others serve', async () => {
    const { id } = await register(first, `${source.url}/slow`)
    const listening = new AbortController()
    const stream = await fetch(`${second.url}/1.0/events`, {
      headers: { authorization: `Bearer ${second.token}`, accept: 'text/event-stream' },
      signal: listening.signal,
    })
    let heard = ''
    const reading = (async () => {
      for await (const chunk of stream.body ?? []) heard += Buffer.from(chunk)
    })().catch(() => {})
    await until('progress is seen', async () => {
      const { progress } = await show(second, id)
      return progress?.phase === 'receiving' && (progress.percent ?? 0) > 0
    })
    source.release()
    const image = await settled(second, id)
    assert.equal(image.status, 'available', JSON.stringify(image.failure))
    await until('the event comes', () => heard.includes('image.available'))
    listening.abort()
    await reading
    assert.equal(await sha256Of(await download(first, id, 'raw')), source.sha256)
    const name = (await owner.send('GET', '/images')).text.split('\n').find((line) => line.includes(id))
    assert.ok(name, 'Orbit lists it')
    assert.equal((await owner.send('GET', `/images/${encodeURIComponent(name)}`)).status, 200)
    const options = ['StrictHostKeyChecking=no', `UserKnownHostsFile=${join(folder, 'hosts')}`]
      .concat([`Port=${sftpPort(sftp)}`, `User=${owner.user}`, 'BatchMode=no'])
      .flatMap((option) => ['-o', option])
    const env = { PATH: process.env.PATH, SSHPASS: owner.key }
    const words = ['-e', 'sftp', ...options, '-b', '-', '127.0.0.1']
    const child = spawn('sshpass', words, { cwd: folder, env, stdio: ['pipe', 'pipe', 'pipe'] })
    child.stdin.end(`get images/${name} image\n`)
    const said = await text(child.stderr)
    assert.ok((await readFile(join(folder, 'image'))).length > 0, said)
  })

  test('what is destroyed through one ends in another before its next heartbeat', async () => {
    const { id } = await register(first, `${source.url}/slow`)
    await until('it is being received', () => source.waiting.size === 1)
    const started = performance.now()
    assert.equal((await second.api('DELETE', `/1.0/images/${id}`)).status, 202)
    await until('nobody receives it any more', () => source.waiting.size === 0)
    assert.ok(performance.now() - started < 9000, `${performance.now() - started} ms`)
    await until('it is gone', async () => ['deleted', undefined].includes((await show(first, id)).status))
  })

  /** Another account, and how to call as its client through two processes. */
  async function addAccount() {
    const account = /acc-\w{5}/.exec(await library.command('account', 'create', 'other'))?.[0] ?? ''
    const words = ['client', 'create', '--account', account, '--permissions', 'full']
    const [id = '', , , secret = ''] =
      (await library.command(...words)).trim().split('\n').at(-1)?.split(/\s+/) ?? []
    const as = async (member: Member): Promise<Member> => {
      const token = await fetchToken(member.url, id, secret)
      const call = callerOf(member.url, token)
      return { ...member, token, call, api: call }
    }
    const [viaFirst, viaSecond] = await Promise.all([as(first), as(second)])
    const [user, otherUser] = await Promise.all([logIn(orbit, id, secret), logIn(second, id, secret)])
    return { account, id, secret, viaFirst, viaSecond, user, otherUser }
  }

  test('a suspended account ends in all processes', async () => {
    const { account, viaFirst, viaSecond, user, otherUser, id, secret } = await addAccount()
    const streams = await Promise.all(
      [viaFirst, viaSecond].map(({ url, token }) =>
        fetch(`${url}/1.0/events`, {
          headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
        }),
      ),
    )
    for (const stream of streams) assert.equal(stream.status, 200)
    await library.command('account', 'suspend', account)
    for (const stream of streams) await stream.text()
    for (const { api } of [viaFirst, viaSecond]) assert.equal((await api('GET', '/1.0/images')).status, 403)
    for (const { send } of [user, otherUser]) assert.ok([401, 403].includes((await send('GET', '')).status))
    await assert.rejects(logIn(orbit, id, secret))
  })

  test('who queues a hundred slow registrations delays nobody else, and has no more at once everywhere', async () => {
    const [many, one] = await Promise.all([addAccount(), addAccount()])
    const ids: string[] = []
    await forEach(Array.from({ length: 100 }), 8, async () => {
      ids.push((await register(many.viaFirst, `${source.url}/slow`)).id)
    })
    await until('as many as may be are received', () => source.waiting.size === 2)
    const { id } = await register(one.viaSecond, `${source.url}/quick`)
    const image = await settled(one.viaFirst, id, PATIENCE_MS)
    assert.equal(image.status, 'available', JSON.stringify(image.failure))
    assert.equal(source.most(), 2)
    await forEach(ids, 8, async (id) => {
      assert.equal((await many.viaSecond.api('DELETE', `/1.0/images/${id}`)).status, 202)
    })
    await until('nothing of it goes on', () => source.waiting.size === 0)
  })

  test('quotas of racing clients end exact, whichever process each asks', async () => {
    const { user, otherUser, viaFirst, viaSecond } = await addAccount()
    const users = [user, otherUser]
    const race = async (count: number, work: (index: number) => Promise<boolean>) =>
      (await Promise.all(Array.from({ length: count }, (_, index) => work(index)))).filter(Boolean).length
    const put = (path: string, size: number) => async (index: number) => {
      const { status } =
        (await users[index % 2]?.send('PUT', `${path}/${index}`, { body: randomBytes(size) })) ?? {}
      assert.ok(status === 201 || status === 413, `${status}`)
      return status === 201
    }
    for (const [name, value] of [
      ['count', '5'],
      ['bytes', '5999'],
    ] as const) {
      const headers = { [`x-container-meta-quota-${name}`]: value }
      assert.equal((await user.send('PUT', `/${name}`, { headers })).status, 201)
      assert.equal(await race(30, put(`/${name}`, 1000)), 5, name)
    }
    // Uploads that are no image yet.
    const members = [viaFirst, viaSecond]
    const made = await race(20, async (index) => {
      const member = members[index % 2] ?? viaFirst
      const { status, body } = await member.api<ImageJson>('POST', '/1.0/images', {
        arch: 'x86_64',
        upload: true,
      })
      assert.ok(status === 201 || status === 409, JSON.stringify(body))
      return status === 201
    })
    assert.equal(made, 8)
    // Of the whole account; each process has promised what is left to one of them.
    assert.equal((await user.send('PUT', '/large')).status, 201)
    const room = QUOTA - 10_000
    const stored = await race(6, put('/large', Math.floor(room / 3)))
    const used = Number((await user.send('HEAD', '')).headers['x-account-bytes-used'])
    assert.ok(used <= QUOTA, `${used}`)
    assert.ok(stored >= 1 && stored <= 3, `${stored}`)
  })

  test('registrations of two workers do not exceed a quota together', async () => {
    const { user, viaFirst, viaSecond } = await addAccount()
    assert.equal((await user.send('PUT', '/c')).status, 201)
    // Room for one, as it is received and as it is stored.
    const filler = randomBytes(QUOTA - source.disk.length - MiB)
    assert.equal((await user.send('PUT', '/c/filler', { body: filler })).status, 201)
    const made = await Promise.all(
      [viaFirst, viaSecond].map((member) => register(member, `${source.url}/slow`)),
    )
    await until('they are received', () => source.waiting.size === 2)
    source.release()
    const images = await Promise.all(made.map(({ id }) => settled(viaFirst, id)))
    const ends = images.map(({ status, failure }) => failure?.code ?? status).sort()
    assert.deepEqual(ends, ['available', 'quota'], JSON.stringify(images))
  })

  test(
    'servers, and their consoles, are reached through another process',
    needs('qemu-system-x86_64'),
    async () => {
      const image = await register(first, `${source.url}/quick`)
      assert.equal((await settled(first, image.id)).status, 'available')
      const { id } = await buildServer(first, image.id)
      await serverIs(first, id, 'active')
      const { body } = await first.api<ServerJson>('POST', `/1.0/servers/${id}/activate_console`)
      assert.ok(body.console_url?.startsWith(first.url), String(body.console_url))
      const url = `${first.url.replace('http', 'ws')}/console/${id}/serial`
      const client = new WebSocket(url, ['binary', `token.${body.console_token}`])
      await once(client, 'open')
      assert.equal(client.protocol, 'binary')
      client.close()
      await once(client, 'close')
      const refused = new WebSocket(url, ['binary', 'token.wrong'])
      const [error] = await once(refused, 'error').catch((cause) => [cause])
      assert.match(String(error), /404/)
      assert.equal((await second.api('GET', '/1.0/servers')).status, 503)
      await assert.rejects(library.start('servers'), /run the servers/)
      assert.equal((await first.api('DELETE', `/1.0/servers/${id}`)).status, 202)
    },
  )

  test('a check, on a machine of its own, finds all as it should be', async () => {
    await library.command('check')
  })
})
