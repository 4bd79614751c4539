import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { type FileServer, startFileServer } from '../support/file-server.ts'
import { type Cli, openCli } from '../support/run-cli.ts'
import { needs } from '../support/tools.ts'

/**
 * The commands of the user's document, as printed there, against the real daemon: what the fake library of the
 * unit tests promises is what the real one does.
 */
let daemon: Daemon
let cli: Cli
let files: FileServer
const disk = Buffer.alloc(24 * 1024 * 1024)

before(async () => {
  daemon = await startDaemon()
  cli = await openCli()
  await writeFile(cli.configPath, await readFile(daemon.config))
  files = await startFileServer(cli.folder)
  randomBytes(5_000_000).copy(disk, 7_000_000)
  await writeFile(join(cli.folder, 'disk.img'), disk)
  await writeFile(join(cli.folder, 'disk.txt'), 'this is no image\n')
})

after(async () => {
  await files?.[Symbol.asyncDispose]()
  await cli?.[Symbol.asyncDispose]()
  await daemon?.[Symbol.asyncDispose]()
})

async function succeed(...args: string[]): Promise<string> {
  const { out, err, code } = await cli.run(...args)
  assert.equal(code, 0, `${args.join(' ')}: ${err}`)
  return out
}

const shown = async (id: string) => JSON.parse(await succeed('image', 'show', '--json', id))

test("the user's document: register, wait, show, list, update, deprecate, destroy", async () => {
  const url = files.url('disk.img')
  const out = await succeed('image', 'register', '--url', url, '-n', 'arch-latest', '--arch=x86_64')
  const id = /\n (img-[0-9a-z]{5}) {2}acc-[0-9a-z]{5} {2}upload /.exec(out)?.[1] ?? ''
  await succeed('image', 'wait', id)
  assert.match(
    await succeed('image', 'show', id),
    /\n +status: private\n[\s\S]* name: arch-latest\n[\s\S]* virtual_size: 24\n/,
  )
  assert.match(
    await succeed('images', 'list', '--status=private'),
    new RegExp(` ${id} .* private .* arch-latest`),
  )
  await succeed('images', 'update', '--mode=compatibility', id)
  await succeed('images', 'update', '--public=true', id)
  const image = await shown(id)
  assert.deepEqual([image.compatibility_mode, image.public, image.status], [true, true, 'available'])
  assert.match(await succeed('images', 'update', '--deprecated=true', id), / deprecated /)
  await succeed('image', 'lock', id)
  const locked = await cli.run('image', 'destroy', id)
  assert.match(locked.err, new RegExp(`\nERROR: destroy image ${id}: `))
  await succeed('image', 'unlock', id)
  await succeed('image', 'destroy', id)
  assert.doesNotMatch(await succeed('images', 'list', '-s', 'deprecated'), new RegExp(id))
})

test('upload and download: a file comes back in all forms', needs('lz4', 'qemu-img'), async () => {
  const sum = `sha256:${createHash('sha256').update(disk).digest('hex')}`
  const line = ['-a', 'x86_64', '--file', 'disk.img', '--checksum', sum, '--wait', '--json']
  const { id } = JSON.parse(await succeed('image', 'register', ...line))
  for (const format of ['lz4', 'raw', 'qcow2']) await succeed('image', 'download', id, '--format', format)
  const inFolder = { cwd: cli.folder }
  assert.ok((await readFile(join(cli.folder, `${id}.raw`))).equals(disk))
  execFileSync('lz4', ['-dqf', `${id}.lz4`, 'from-lz4'], inFolder)
  assert.ok((await readFile(join(cli.folder, 'from-lz4'))).equals(disk))
  execFileSync('qemu-img', ['convert', '-O', 'raw', `${id}.qcow2`, 'from-qcow2'], inFolder)
  assert.ok((await readFile(join(cli.folder, 'from-qcow2'))).equals(disk))
  assert.match(await succeed('image', 'events', id), / image\.available /)
})

test('failures: a wrong checksum, a missing file and no image end with reason, hint and exit code 1', async () => {
  const fails = async (...args: string[]) => {
    const { err, code } = await cli.run('image', 'register', '--wait', '-a', 'x86_64', ...args)
    assert.equal(code, 1)
    assert.match(err, /\nHINT: .+\n$/)
    return /ERROR: register image img-.....: .*\((.*)\)\n/.exec(err)?.[1]
  }
  assert.equal(
    await fails('--url', files.url('disk.img'), '--checksum', `sha256:${'0'.repeat(64)}`),
    'checksum',
  )
  assert.equal(await fails('--url', files.url('nowhere')), 'source')
  assert.equal(await fails('--url', files.url('disk.txt')), 'not-an-image')
})

test('the rest of the command line: accounts, types, zones, users, tokens', async () => {
  assert.match(await succeed('accounts'), /\n acc-[0-9a-z]{5} /)
  assert.match(await succeed('types'), / 1gb\.ssd /)
  assert.match(await succeed('zones'), / gb1-a /)
  assert.match(await succeed('users'), /\n usr-[0-9a-z]{5} /)
  const before = await succeed('token', 'show', '--format=token')
  assert.notEqual(await succeed('token', 'create', '--format=token'), before)
})
