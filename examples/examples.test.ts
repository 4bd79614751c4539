import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { type Daemon, startDaemon } from '../test/support/daemon.ts'
import { type FileServer, startFileServer } from '../test/support/file-server.ts'
import { needs } from '../test/support/tools.ts'

let daemon: Daemon
let files: FileServer
let folder: string
const disk = Buffer.alloc(3 * 1024 * 1024)

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'examples-'))
  disk.fill('sectors', 512, 1024)
  disk.fill('the last block', 2_500_000)
  await writeFile(join(folder, 'disk.raw'), disk)
  await writeFile(join(folder, 'page.html'), '<!doctype html>')
  files = await startFileServer(folder)
  daemon = await startDaemon()
})

after(async () => {
  await daemon?.[Symbol.asyncDispose]()
  await files?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function run(name: string, ...args: readonly string[]) {
  const path = join(import.meta.dirname, name)
  const [program, first] = name.endsWith('.ts') ? [process.execPath, [path]] : ['bash', [path]]
  const child = spawn(program, [...first, ...args], { env: { ...process.env, TOKEN: daemon.token } })
  const [out, err] = await Promise.all([buffer(child.stdout), text(child.stderr), once(child, 'close')])
  return { out, err, code: child.exitCode }
}

const tools = needs('bash', 'curl', 'grep')

async function registered(): Promise<{ id: string; digest: string }> {
  const ini = await readFile(daemon.config, 'utf8')
  const value = (key: string) => new RegExp(`^${key} = (.*)$`, 'm').exec(ini)?.[1] ?? ''
  const url = files.url('disk.raw')
  const { out, err, code } = await run('register.sh', daemon.url, value('client_id'), value('secret'), url)
  assert.equal(code, 0, err)
  const id = out.toString().trim()
  const { body } = await daemon.api<{ digest: string }>('GET', `/1.0/images/${id}`)
  return { id, digest: body.digest.replace('sha256:', '') }
}

test('register-and-watch: tells every event until the image is available', async () => {
  const { out, err, code } = await run('register-and-watch.ts', daemon.url, files.url('disk.raw'))
  assert.equal(code, 0, err)
  const actions = [...out.toString().matchAll(/^img-\w{5} (image\.\w+): /gm)].map(([, action]) => action)
  assert.deepEqual(actions, ['image.registered', 'image.started', 'image.available'])
})

test('register-and-watch: ends with 1 and the reason where it fails', async () => {
  const { out, code } = await run('register-and-watch.ts', daemon.url, files.url('page.html'))
  assert.equal(code, 1)
  assert.match(out.toString(), /image\.failed: This is not a disk image/)
})

test('register.sh and read-range: a part of the disk comes back', tools, async () => {
  const { id } = await registered()
  const { out, err, code } = await run('read-range.ts', daemon.url, id, '500', '600')
  assert.equal(code, 0, err)
  assert.ok(out.equals(disk.subarray(500, 1100)))
  assert.match(err, new RegExp(`^bytes 500-1099/${disk.length} of "raw-1-`))
})

test('register.sh: wrong credentials end it', tools, async () => {
  const { err, code } = await run('register.sh', daemon.url, 'cli-00000', 'wrong', files.url('disk.raw'))
  assert.notEqual(code, 0, err)
})

test('read-manifest: names the blocks by their digests', tools, async () => {
  const { digest } = await registered()
  const { out, err, code } = await run('read-manifest.ts', join(daemon.data, 'store'), digest)
  assert.equal(code, 0, err)
  const block = (index: number) => disk.subarray(index << 20, (index + 1) << 20)
  const digestOf = (index: number) => createHash('sha256').update(block(index)).digest('hex')
  const lines = out.toString().trim().split('\n')
  assert.equal(lines[0], `disk of ${disk.length} bytes, 3 blocks of 1 MiB`)
  // The block in the middle is zeros.
  assert.deepEqual(
    lines.slice(1).map((line) => line.split(' ').slice(0, 2)),
    [
      ['0', digestOf(0)],
      ['2', digestOf(2)],
    ],
  )
})

test('read-manifest: refuses another digest', async () => {
  const { code } = await run('read-manifest.ts', join(daemon.data, 'store'), '0'.repeat(64))
  assert.notEqual(code, 0)
})
