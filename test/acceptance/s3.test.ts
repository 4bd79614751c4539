import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { access, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { openS3Store } from '#data/store/s3/open-s3-store.ts'
import type { S3Place } from '#data/store/s3/place.ts'
import type { Store } from '#data/store/store.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { firstUser, type OrbitUser, sftpPort } from '../support/orbit.ts'
import { createS3Place, RADOSGW } from '../support/radosgw.ts'
import { download, type ImageJson, register, settled, sha256Of } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

const IMAGE_LIBRARY = join(import.meta.dirname, '..', '..', 'bin', 'image-library')
const DISK = Buffer.concat([randomBytes(5 * MiB), Buffer.alloc(3 * MiB), randomBytes(MiB + 512)])
const SHA256 = createHash('sha256').update(DISK).digest('hex')

/** A program's end, and all that it said. */
async function run(program: string, words: string[], options: Parameters<typeof spawn>[2], input = '') {
  const child = spawn(program, words, { ...options, stdio: 'pipe' })
  const ended = once(child, 'close')
  child.stdin?.end(input)
  const said = await Promise.all([child.stdout, child.stderr].map((stream) => (stream ? text(stream) : '')))
  const [status] = await ended
  return { status, said: said.join('') }
}

describe('a library on S3', needs(...RADOSGW, 'sftp', 'sshpass'), () => {
  let folder: string
  let place: S3Place
  let store: Store
  let files: FileServer
  let daemon: Daemon
  let owner: OrbitUser
  let image: ImageJson
  let storeArguments: string[]
  let environment: Record<string, string>
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 's3-'))
    await writeFile(join(folder, 'disk'), DISK)
    files = await startFileServer(folder)
    place = await createS3Place()
    store = openS3Store(place)
    const { endpoint, bucket, prefix, region, credentials } = place
    storeArguments = ['--store', `s3://${bucket}/${prefix}?endpoint=${endpoint}&region=${region}`]
    environment = {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    }
    daemon = await startDaemon({
      arguments: ['--sftp', '127.0.0.1:0', ...storeArguments],
      settings: { 'source.allow': '127.0.0.0/8', 'store.cache': '64 MiB' },
      environment,
    })
    owner = await firstUser(daemon)
    const { id } = await register(daemon, files.url('disk'))
    image = await settled(daemon, id)
  })
  after(async () => {
    await daemon?.[Symbol.asyncDispose]()
    await store?.[Symbol.asyncDispose]()
    await files?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const imageLibrary = (...words: string[]) =>
    run(IMAGE_LIBRARY, [...words, '--data', daemon.data, '--config', daemon.settings, ...storeArguments], {
      env: { ...process.env, ...environment },
    })

  test('an image is registered, and read back as it was', async () => {
    assert.equal(image.status, 'available', JSON.stringify(image.failure))
    assert.equal(await sha256Of(await download(daemon, image.id, 'raw')), SHA256)
    assert.equal((await Array.fromAsync(store.blocks.list())).length, 7)
    await assert.rejects(access(join(daemon.data, 'store')), 'nothing lies in the data folder')
    const cached = await readdir(join(daemon.data, 'cache'))
    assert.equal(cached.length, 7, 'what was read is at hand')
    const part = await download(daemon, image.id, 'raw', `bytes=${4 * MiB}-${9 * MiB}`)
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), DISK.subarray(4 * MiB, 9 * MiB + 1))
  })

  test('the same bytes again are the same blocks', async () => {
    const before = await Array.fromAsync(store.blocks.list())
    const { id } = await register(daemon, files.url('disk'))
    assert.equal((await settled(daemon, id)).status, 'available')
    assert.deepEqual(await Array.fromAsync(store.blocks.list()), before)
  })

  test('objects are put and read over HTTP and SFTP', async () => {
    const bytes = randomBytes(3 * MiB + 1)
    assert.equal((await owner.send('PUT', '/c')).status, 201)
    assert.equal((await owner.send('PUT', '/c/o', { body: bytes })).status, 201)
    assert.deepEqual((await owner.send('GET', '/c/o')).body, bytes)
    const options = ['StrictHostKeyChecking=no', `UserKnownHostsFile=${join(folder, 'hosts')}`]
      .concat([`Port=${sftpPort(daemon)}`, `User=${owner.user}`, 'BatchMode=no'])
      .flatMap((option) => ['-o', option])
    const env = { PATH: process.env.PATH, SSHPASS: owner.key }
    const commands = 'get c/o over-sftp\nput disk c/disk\n'
    const words = ['-e', 'sftp', ...options, '-b', '-', '127.0.0.1']
    const { status, said } = await run('sshpass', words, { cwd: folder, env }, commands)
    assert.equal(status, 0, said)
    assert.deepEqual(await readFile(join(folder, 'over-sftp')), bytes)
    assert.deepEqual((await owner.send('GET', '/c/disk')).body, DISK)
  })

  test("the operator's commands work on it, and tell nobody its keys", async () => {
    const checked = await imageLibrary('check')
    assert.equal(checked.status, 0, checked.said)
    const repaired = await imageLibrary('repair', image.id)
    assert.equal(repaired.status, 0, repaired.said)
    assert.equal((await owner.send('DELETE', '/c/o')).status, 204)
    // Nothing is under way any more that a collection must leave alone.
    daemon.process.kill('SIGTERM')
    await once(daemon.process, 'exit')
    const collected = await imageLibrary('collect')
    assert.match(collected.said, /^deleted 4 blocks and 1 manifest/, collected.said)
    const again = await imageLibrary('check')
    assert.equal(again.status, 0, again.said)
    for (const said of [daemon.output(), checked.said, repaired.said, collected.said])
      assert.ok(!said.includes(place.credentials.secretAccessKey), 'a key was told')
  })

  test('what opens nothing is told at once, and what to do', async () => {
    const before = storeArguments
    storeArguments = ['--store', `s3://nobodys/?endpoint=${place.endpoint}`]
    const { status, said } = await imageLibrary('check')
    assert.equal(status, 1)
    assert.match(said, /NoSuchBucket\nhint: Make the bucket/)
    storeArguments = before
  })

  test('without credentials it says so, and what to do', async () => {
    environment = { AWS_ACCESS_KEY_ID: '', AWS_EC2_METADATA_DISABLED: 'true', HOME: folder }
    const { status, said } = await imageLibrary('check')
    assert.equal(status, 1)
    assert.match(said, /there are no credentials for it\nhint: Set AWS_ACCESS_KEY_ID/)
  })
})
