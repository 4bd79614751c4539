import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startDaemon } from '../support/daemon.ts'
import { libraryAt, listStored } from '../support/library-place.ts'
import { firstUser, type OrbitUser, sftpPort } from '../support/orbit.ts'
import { bytesOf, ObjectModel, type Version } from '../support/orbit-model.ts'
import { createRandom } from '../support/random-disk.ts'
import { execute } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 10)
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']
const SIZES = [100, 16_384, 200_000, 1 << 20, 3_000_000, 6_500_000]

/** Every version that an object may be: the one that was acknowledged last, and those that were not answered. */
type Possible = Map<string, Set<Version | undefined>>

async function write(user: OrbitUser, possible: Possible, model: ObjectModel, random: () => number) {
  for (;;) {
    const name = NAMES[Math.floor(random() * NAMES.length)] ?? ''
    const versions = possible.get(name) ?? new Set()
    const version = model.newVersion(SIZES[Math.floor(random() * SIZES.length)] ?? 0, undefined)
    const isRemoval = random() < 0.1
    await model.change([name], async () => {
      versions.add(isRemoval ? undefined : version)
      const headers = { 'x-object-meta-id': String(version.id) }
      const { status } = isRemoval
        ? await user.send('DELETE', `/c/${name}`)
        : await user.send('PUT', `/c/${name}`, { headers, body: bytesOf(version) })
      if (![201, 204, 404].includes(status)) throw new Error(`${name}: ${status}`)
      versions.clear()
      versions.add(isRemoval ? undefined : version)
    })
  }
}

async function assertAllStand(user: OrbitUser, possible: Possible): Promise<void> {
  const listed = (await user.send('GET', '/c')).text
  for (const [name, versions] of possible) {
    const { status, headers, body } = await user.send('GET', `/c/${name}`)
    const id = status === 404 ? undefined : Number(headers['x-object-meta-id'])
    const told = [...versions].map((version) => version?.id)
    assert.ok(told.includes(id), `${name} is ${id}, may be ${told}`)
    const version = [...versions].find((one) => one?.id === id)
    if (version) assert.ok(body.equals(bytesOf(version)), `${name} has the bytes of version ${id}`)
    assert.equal(listed.split('\n').includes(name), version !== undefined, `${name} is listed if it is there`)
    possible.set(name, new Set([version]))
  }
}

test(
  'orbit: killed at any moment of uploads, an object is as before or as it was to be',
  needs('find'),
  async (t) => {
    t.diagnostic(`seed ${seed}`)
    const random = createRandom(seed)
    const data = await mkdtemp(join(tmpdir(), 'orbit-crash-'))
    t.after(() => rm(data, { recursive: true, force: true }))
    const possible: Possible = new Map(NAMES.map((name) => [name, new Set([undefined])]))
    let lastFailure: unknown
    for (let round = 0; round < ROUNDS; round++) {
      const model = new ObjectModel(round * 10_000)
      await using daemon = await startDaemon({ data })
      const user = await firstUser(daemon)
      if (round === 0) assert.equal((await user.send('PUT', '/c')).status, 201)
      await assertAllStand(user, possible)
      const writers = [1, 2, 3].map((n) =>
        write(user, possible, model, createRandom(seed + 100 * round + n)).catch((error) => {
          lastFailure = error
        }),
      )
      await delay(50 + random() * 700)
      daemon.process.kill('SIGKILL')
      await once(daemon.process, 'exit')
      await Promise.all(writers)
    }
    assert.match(String(lastFailure), /hang up|ECONN|aborted/, 'what ended the last writer was the kill')

    const operator = async (...words: string[]) =>
      execute('bin/image-library', [...words, ...(await libraryAt(data))])
    {
      await using daemon = await startDaemon({ data })
      const user = await firstUser(daemon)
      await assertAllStand(user, possible)
      await operator('check')
      await operator('collect')
      await operator('check')
      await assertAllStand(user, possible)
      for (const name of NAMES) await user.send('DELETE', `/c/${name}`)
      assert.equal((await user.send('DELETE', '/c')).status, 204)
    }
    await operator('collect')
    assert.deepEqual(await listStored(data), [], 'nothing is left after collection')
    assert.deepEqual(await readdir(join(data, 'spool')).catch(() => []), [])
  },
)

test(
  'orbit: killed during an upload over SFTP, the old file stays and no process',
  needs('sftp'),
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'orbit-crash-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const data = join(folder, 'data')
    const large = join(folder, 'large')
    await writeFile(large, randomBytes(48 << 20))
    const key = join(folder, 'id')
    await execute('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    {
      await using daemon = await startDaemon({ data, arguments: ['--sftp', '127.0.0.1:0'] })
      const user = await firstUser(daemon)
      await user.send('PUT', '/c')
      await user.send('PUT', '/c/file', { body: 'old' })
      const public_key = await readFile(`${key}.pub`, 'utf8')
      assert.equal((await daemon.api('POST', '/1.0/ssh_keys', { public_key })).status, 201)
      const options = [`Port=${sftpPort(daemon)}`, 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null']
      const words = [...options, `IdentityFile=${key}`].flatMap((option) => ['-o', option])
      const destination = `${user.user}@127.0.0.1`
      const client = spawn('sftp', ['-q', ...words, '-l', '40000', '-b', '-', destination], {
        stdio: ['pipe', 'ignore', 'ignore'],
      })
      const ended = once(client, 'close')
      client.stdin.end(`put ${large} c/file\n`)
      const pid = daemon.process.pid ?? 0
      await delay(1500)
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
      assert.notDeepEqual(children, [''], 'there are processes for SFTP')
      daemon.process.kill('SIGKILL')
      const [code] = await ended
      assert.notEqual(code, 0, 'the upload did not end before the library')
      const deadline = Date.now() + 5000
      while (children.some((child) => existsSync(`/proc/${child}`))) {
        assert.ok(Date.now() < deadline, `${children} are left`)
        await delay(20)
      }
    }
    {
      await using daemon = await startDaemon({ data })
      assert.equal((await (await firstUser(daemon)).send('GET', '/c/file')).text, 'old')
    }
    const place = await libraryAt(data)
    for (const word of ['check', 'collect']) await execute('bin/image-library', [word, ...place])
    assert.deepEqual(await listStored(data), [], 'what was uploaded of it is gone')
  },
)
