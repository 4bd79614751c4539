import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { libraryAt } from '../support/library-place.ts'
import { download, register, settled, sha256Of } from '../support/registration.ts'
import { BRIGHTBOX, type Cli, openCli } from '../support/run-cli.ts'

/** The user's way for large images: into Orbit in segments, a temporary URL, registered from there. */
const MiB = 1024 * 1024
let daemon: Daemon
let cli: Cli

before(async () => {
  daemon = await startDaemon()
  cli = await openCli()
  await writeFile(cli.configPath, await readFile(daemon.config))
})

after(async () => {
  await cli?.[Symbol.asyncDispose]()
  await daemon?.[Symbol.asyncDispose]()
})

async function succeed(...args: string[]): Promise<string> {
  const { out, err, code } = await cli.run(...args)
  assert.equal(code, 0, `${args.join(' ')}: ${err}`)
  return out
}

const at = (name: string) => join(cli.folder, name)
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

function makeDisk(size: number): Buffer {
  const disk = Buffer.alloc(size)
  randomBytes(2 * MiB + 77).copy(disk, Math.floor(size / 3))
  return disk
}

const tempUrl = async (place: string, ...more: string[]) =>
  (await succeed('orbit', 'tempurl', place, ...more)).trim()

/** Registers an object that lies in Orbit and waits for what becomes of it. */
async function registerFrom(place: string, more: object = {}) {
  const { id } = await register(daemon, await tempUrl(place), more)
  return settled(daemon, id)
}

async function assertIs(id: string, disk: Uint8Array): Promise<void> {
  assert.equal(await sha256Of(await download(daemon, id, 'raw')), sha256(disk))
}

test('register --file: killed in the middle, the same command goes on, and nothing stays in Orbit', async () => {
  const disk = makeDisk(200 * MiB)
  await writeFile(at('large.raw'), disk)
  const line = ['image', 'register', '-a', 'x86_64', '--file', 'large.raw', '--wait', '--json']
  const child = spawn(BRIGHTBOX, line, {
    cwd: cli.folder,
    env: { ...process.env, HOME: cli.folder, BRIGHTBOX_CONFIG: cli.configPath },
    stdio: 'ignore',
  })
  const segments = async () => {
    const { out, code } = await cli.run('orbit', 'ls', 'image-uploads_segments', '--json')
    return code === 0 ? (JSON.parse(out) as { name: string; last_modified: string }[]) : []
  }
  while ((await segments()).length === 0 && child.exitCode === null);
  child.kill('SIGKILL')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  const [first] = await segments()
  const { out, err, code } = await cli.run(...line)
  assert.equal(code, 0, err)
  const image = JSON.parse(out)
  assert.equal(image.name, 'large.raw')
  assert.equal(image.source, 'large.raw')
  assert.deepEqual(
    [image.source_info.sha256, image.source_info.bytes, image.source_info.format],
    [null, disk.length, 'raw'],
  )
  assert.match(first?.name ?? '', /\/slo\/.*\/00000000$/)
  assert.deepEqual([await segments(), await succeed('-s', 'orbit', 'ls', 'image-uploads')], [[], ''])
  await assertIs(image.id, disk)
})

test('put, temporary URL, register: a raw object is taken over, others are read, to the same disk', async () => {
  const disk = makeDisk(9 * MiB + 512)
  await writeFile(at('disk.raw'), disk)
  await writeFile(at('disk.raw.gz'), gzipSync(disk))
  await succeed('orbit', 'put', 'disk.raw', 'uploads')
  await succeed('orbit', 'put', 'disk.raw.gz', 'uploads')
  await succeed('orbit', 'put', 'disk.raw', 'uploads/in-segments', '--segment-size', '2')
  const digests = new Set<string | null>()
  for (const [name, format, sum] of [
    ['disk.raw', 'raw', null],
    ['in-segments', 'raw', null],
    ['disk.raw.gz', 'gzip+raw', sha256(await readFile(at('disk.raw.gz')))],
  ]) {
    const image = await registerFrom(`uploads/${name}`)
    assert.equal(image.status, 'available', JSON.stringify(image.failure))
    assert.deepEqual([image.source_info?.format, image.source_info?.sha256], [format, sum])
    digests.add(image.digest)
    await succeed('orbit', 'rm', `uploads/${name}`)
    await assertIs(image.id, disk)
    const again = await registerFrom(`images/${image.id}`)
    assert.equal(again.source_info?.format, 'lz4+raw')
    digests.add(again.digest)
  }
  assert.equal(digests.size, 1)
  const checked = { checksum: `sha256:${sha256(disk)}` }
  await succeed('orbit', 'put', 'disk.raw', 'uploads')
  assert.equal((await registerFrom('uploads/disk.raw', checked)).source_info?.sha256, sha256(disk))
  const wrong = await registerFrom('uploads/disk.raw', { checksum: `sha256:${'0'.repeat(64)}` })
  assert.equal(wrong.failure?.code, 'checksum')
})

test('large objects with ranges, inline pieces and dynamic segments are read as they are served', async () => {
  const disk = makeDisk(6 * MiB)
  const segment = Buffer.concat([Buffer.alloc(1000, 1), disk.subarray(0, 4 * MiB), Buffer.alloc(7, 2)])
  await writeFile(at('middle'), segment)
  await writeFile(at('rest'), disk.subarray(4 * MiB + 600))
  await succeed('orbit', 'put', 'middle', 'pieces')
  await succeed('orbit', 'put', 'rest', 'pieces')
  const account = JSON.parse(await succeed('accounts', '--json'))[0].id
  const orbit = (path: string, init: RequestInit) =>
    fetch(`${daemon.url}/v1/${account}/${path}`, {
      ...init,
      headers: { 'x-auth-token': daemon.token, ...init.headers },
    })
  const entries = [
    { path: '/pieces/middle', range: `1000-${1000 + 4 * MiB - 1}` },
    { data: disk.subarray(4 * MiB, 4 * MiB + 600).toString('base64') },
    { path: '/pieces/rest' },
  ]
  const put = { method: 'PUT', body: JSON.stringify(entries) }
  const made = await orbit('pieces/static?multipart-manifest=put', put)
  assert.equal(made.status, 201, await made.text())
  const image = await registerFrom('pieces/static')
  assert.equal(image.status, 'available', JSON.stringify(image.failure))
  await assertIs(image.id, disk)
  for (const [index, part] of [disk.subarray(0, 4 * MiB), disk.subarray(4 * MiB)].entries()) {
    await writeFile(at('part'), part)
    await succeed('orbit', 'put', 'part', `parts/of-a-disk/${index}`)
  }
  const dynamic = { method: 'PUT', headers: { 'x-object-manifest': 'parts/of-a-disk/' } }
  assert.equal((await orbit('uploads-dynamic', { method: 'PUT' })).status, 201)
  assert.equal((await orbit('uploads-dynamic/disk', dynamic)).status, 201)
  const joined = await registerFrom('uploads-dynamic/disk')
  assert.deepEqual([joined.digest, joined.source_info?.sha256], [image.digest, null])
})

test('a URL of ours that opens nothing is refused at once with the reason, and no image is made', async () => {
  await writeFile(at('small'), makeDisk(2 * MiB + 512))
  await succeed('orbit', 'put', 'small', 'uploads')
  const url = await tempUrl('uploads/small')
  const before = await succeed('-s', 'images')
  const refuse = async (http_url: string) => {
    const { status, body } = await daemon.api<{ errors: string[] }>('POST', '/1.0/images', {
      http_url,
      arch: 'x86_64',
    })
    assert.equal(status, 422)
    return body.errors.join()
  }
  assert.match(await refuse(url.replace(/sig=./, 'sig=x')), /http_url has a signature that is wrong or has/)
  assert.match(
    await refuse(url.replace(/expires=\d+/, 'expires=1')),
    /http_url has a signature that is wrong/,
  )
  assert.match(await refuse(url.replace(/\?.*/, '')), /http_url names an object that not everybody may read/)
  await succeed('orbit', 'rm', 'uploads/small')
  assert.match(await refuse(url), /http_url names an object that does not exist/)
  assert.equal(await succeed('-s', 'images'), before)
})

test('an object becomes an image that survives it, also through a collection', async () => {
  await writeFile(at('kept.raw'), makeDisk(3 * MiB))
  await truncate(at('kept.raw'), 64 * MiB)
  await succeed('orbit', 'put', 'kept.raw', 'uploads')
  const image = await registerFrom('uploads/kept.raw')
  await succeed('orbit', 'rm', 'uploads/kept.raw')
  const { execute } = await import('../support/registration.ts')
  await execute('bin/image-library', ['collect', ...(await libraryAt(daemon.data))])
  await assertIs(image.id, await readFile(at('kept.raw')))
})
