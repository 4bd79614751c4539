import assert from 'node:assert/strict'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { isInstalled, missingPackages, needs } from './tools.ts'

test('tools: what PATH lacks is named with its package, and what it has is not', async (t) => {
  const { PATH = '' } = process.env
  const folder = await mkdtemp(join(tmpdir(), 'tools-'))
  t.after(async () => {
    process.env.PATH = PATH
    await rm(folder, { recursive: true })
  })
  await symlink(process.execPath, join(folder, 'lz4'))
  await writeFile(join(folder, 'xz'), 'not executable')
  process.env.PATH = `/nowhere${delimiter}${folder}`
  assert.ok(isInstalled('lz4'))
  assert.deepEqual(needs('lz4'), {})
  assert.deepEqual(needs('qemu-img', 'lz4', 'xz'), { skip: 'needs qemu-img (qemu-utils), xz (xz-utils)' })
  const packages = missingPackages()
  assert.ok(!packages.includes('lz4'))
  assert.equal(packages.filter((name) => name === 'qemu-utils').length, 1, 'of two tools, but once')
})
