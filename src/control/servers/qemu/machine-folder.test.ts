import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { link, mkdtemp, open, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { boundLog, giveFile, lastLine, syncFile } from './machine-folder.ts'

const me = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'machine-folder-'))
  return {
    path,
    at: (name: string) => join(path, name),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  }
}

test('machine folder: a file is given to QEMU, and to nobody else', async () => {
  await using folder = await temporaryFolder()
  await writeFile(folder.at('layer'), 'x', { mode: 0o644 })
  await giveFile(folder.at('layer'), me)
  await syncFile(folder.at('layer'))
  assert.equal((await stat(folder.at('layer'))).mode & 0o777, 0o600)
})

test('machine folder: what a guest that broke out puts there is not touched', async () => {
  await using folder = await temporaryFolder()
  await writeFile(folder.at('base'), 'base', { mode: 0o444 })
  await symlink('base', folder.at('symbolic'))
  await link(folder.at('base'), folder.at('hard'))
  await promisify(execFile)('mkfifo', [folder.at('pipe')])
  for (const name of ['symbolic', 'hard', 'pipe']) {
    await assert.rejects(giveFile(folder.at(name), me), name)
    await assert.rejects(syncFile(folder.at(name)), name)
  }
  assert.equal((await stat(folder.at('base'))).mode & 0o777, 0o444)
  await truncate(folder.at('base'), 2 * 1024 * 1024)
  await link(folder.at('base'), folder.at('qemu.log'))
  await assert.rejects(boundLog(folder.path), { message: /not a file of its own/ })
  assert.equal((await stat(folder.at('base'))).size, 2 * 1024 * 1024)
})

test('machine folder: a base under another name is not touched, although it has that one alone', async () => {
  await using folder = await temporaryFolder()
  await writeFile(folder.at('qemu.log'), Buffer.alloc(2 * 1024 * 1024), { mode: 0o444 })
  await assert.rejects(boundLog(folder.path), { message: /not a file of its own/ })
  await assert.rejects(giveFile(folder.at('qemu.log'), me), { message: /not a file of its own/ })
  const { size, mode } = await stat(folder.at('qemu.log'))
  assert.deepEqual([size, mode & 0o777], [2 * 1024 * 1024, 0o444])
})

test('machine folder: a log is emptied when it is long, and not before', async () => {
  await using folder = await temporaryFolder()
  await writeFile(folder.at('qemu.log'), 'short')
  await boundLog(folder.path)
  assert.equal(await readFile(folder.at('qemu.log'), 'utf8'), 'short')
  await truncate(folder.at('qemu.log'), 1024 * 1024 + 1)
  await boundLog(folder.path)
  assert.equal((await stat(folder.at('qemu.log'))).size, 0)
})

test('machine folder: the last line that says something is what a start failed of', async () => {
  await using folder = await temporaryFolder()
  for (const [text, line] of [
    ['', ''],
    ['\n \n', ''],
    ['qemu-system-x86_64: -m 1: too small\n\n', '-m 1: too small'],
    [`${'x'.repeat(10_000)}\nprlimit: failed to execute`, 'failed to execute'],
  ] as const) {
    await writeFile(folder.at('qemu.log'), text)
    await using log = await open(folder.at('qemu.log'))
    assert.equal(await lastLine(log), line)
  }
})
