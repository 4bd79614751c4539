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
import { MiB } from '#base/bytes.ts'
import { callerOf, fetchToken } from '../support/api-server.ts'
import { LARGE, type LargeLibrary, type Member, startLargeLibrary } from '../support/large-library.ts'
import { firstUser, logIn, type OrbitUser, sftpPort } from '../support/orbit.ts'
import { download, type ImageJson, register, settled, sha256Of } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const PATIENCE_MS = 60_000

/** A disk that comes as fast as the test says. */
async function startSource() {
  const disk = Buffer.concat([randomBytes(3 * MiB), Buffer.alloc(MiB), randomBytes(512)])
  disk.writeUInt16BE(0x55aa, 510)
  const waiting = new Set<ServerResponse>()
  const server = createServer((request, response) => {
    response.on('error', () => {})
    response.setHeader('content-length', disk.length)
    if (request.url !== '/slow') return response.end(disk)
    response.write(disk.subarray(0, 2 * MiB))
    waiting.add(response)
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
  let api: Member[]
  let first: Member
  let second: Member
  let orbit: Member
  let sftp: Member
  let workers: Member[]
  let owner: OrbitUser
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'large-test-'))
    source = await startSource()
    library = await startLargeLibrary({
      settings: { 'registrations.concurrent': '2', 'registrations.per_account': '2' },
    })
    // At once, on a database that is empty.
    api = await Promise.all([library.start('api'), library.start('api, orbit')])
    const [one, other] = api
    assert.ok(one && other)
    first = one
    second = other
    ;[orbit, sftp, ...workers] = await Promise.all([
      library.start('orbit'),
      library.start('sftp'),
      library.start('worker'),
      library.start('worker'),
    ])
    owner = await firstUser({ ...orbit, config: first.config })
  })
  after(async () => {
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
    for (const member of api) assert.equal((await member.api('GET', '/1.0/images')).status, 200)
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
})
