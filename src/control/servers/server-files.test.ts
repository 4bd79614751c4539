import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { lstatSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { createLayer } from '#data/volume/create-layer.ts'
import { SyncedFiles } from '../../../test/support/synced-files.ts'
import {
  addLayerFile,
  linkBase,
  makeFolder,
  nextLayer,
  removeFolder,
  removeOtherLayers,
  writeSeed,
} from './server-files.ts'

const run = promisify(execFile)
const OWNER = { uid: 931_998, gid: 931_998 }
const AS_ROOT = { skip: process.getuid?.() === 0 ? false : 'needs root, to give files away' }

async function serverFolder(t: TestContext) {
  const parent = await mkdtemp(join(tmpdir(), 'server-files-'))
  t.after(() => run('rm', ['-rf', parent]))
  const folder = join(parent, 'srv-aaaaa')
  await mkdir(folder)
  const victim = join(parent, 'victim')
  await writeFile(victim, 'secret', { mode: 0o444 })
  return { parent, folder, victim }
}

/** What a guest that broke out does between two steps of ours: our file in its folder becomes another one. */
function replaceAll(folder: string, victim: string): string[] {
  const names = readdirSync(folder)
  for (const name of names) {
    rmSync(join(folder, name))
    symlinkSync(victim, join(folder, name))
  }
  return names
}

for (const [what, make] of [
  [
    'a layer',
    (folder: string, owner: typeof OWNER) => {
      const createLayer = (path: string) => writeFile(path, 'layer', { flag: 'wx' })
      return addLayerFile(createLayer, folder, { name: 'layer-1.qcow2', size: 512, owner })
    },
  ],
  ['a seed', (folder: string, owner: typeof OWNER) => writeSeed(folder, Buffer.from('seed'), owner)],
] as const) {
  test(`server files: ${what} is given away before it is in the folder`, AS_ROOT, async (t) => {
    const { parent, folder, victim } = await serverFolder(t)
    let seen: string[] = []
    const owner = {
      gid: OWNER.gid,
      get uid() {
        seen = replaceAll(folder, victim)
        return OWNER.uid
      },
    }
    await make(folder, owner)
    assert.deepEqual(seen, [])
    assert.equal(lstatSync(victim).uid, 0)
    const [name = ''] = await readdir(folder)
    assert.equal(lstatSync(join(folder, name)).uid, OWNER.uid)
    assert.deepEqual((await readdir(parent)).sort(), ['srv-aaaaa', 'victim'])
  })

  test(`server files: ${what} that cannot be moved into its folder is not left beside it`, async (t) => {
    const { parent, folder } = await serverFolder(t)
    await rm(folder, { recursive: true })
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
    await assert.rejects(make(folder, owner), { code: 'ENOENT' })
    assert.deepEqual(await readdir(parent), ['victim'])
  })
}

test('server files: what a guest that broke out left is removed, and nothing that it points to', async (t) => {
  const { parent, folder, victim } = await serverFolder(t)
  await symlink(parent, join(folder, 'image.sock'))
  await symlink(victim, join(folder, 'seed.iso'))
  await writeFile(`${folder}~layer-1.qcow2`, 'half')
  // Deeper than any path can say.
  const deep = 'mkdir t; for n in $(seq 30); do mkdir up; mv t "up/$1"; mv up t; done'
  await run('sh', ['-c', deep, 'sh', 'd'.repeat(200)], { cwd: folder })
  await removeFolder(folder)
  assert.deepEqual(await readdir(parent), ['victim'])
  assert.equal(await readFile(victim, 'utf8'), 'secret')
})

test('server files: a folder that changes while it is removed costs nothing outside', {
  timeout: 60_000,
}, async (t) => {
  const { parent, folder } = await serverFolder(t)
  const outside = join(parent, 'outside')
  await mkdir(outside)
  for (let count = 0; count < 20; count++) await writeFile(join(outside, `${count}`), 'mine')
  const swap =
    'while :; do mkdir -p d; touch d/x d/y d/z; mv -T d e; ln -s ../outside d; rm -rf e; rm -f d; done'
  const attacker = execFile('sh', ['-c', swap], { cwd: folder })
  for (let count = 0; count < 200; count++) {
    await mkdir(join(folder, 'more'), { recursive: true })
    await removeFolder(join(folder)).catch(() => {})
    await mkdir(folder, { recursive: true })
  }
  attacker.kill('SIGKILL')
  assert.equal((await readdir(outside)).length, 20)
})

test('server files: a folder in the place of a layer goes like a layer', async (t) => {
  const { folder } = await serverFolder(t)
  await mkdir(join(folder, 'layer-7.qcow2', 'in'), { recursive: true })
  await writeFile(join(folder, 'layer-0.qcow2'), '')
  await writeFile(join(folder, 'layer-1.qcow2'), '')
  await removeOtherLayers(folder, ['layer-0.qcow2'])
  assert.deepEqual(await readdir(folder), ['layer-0.qcow2'])
})

test('server files: so many that they cannot be looked through are refused', async (t) => {
  const { folder } = await serverFolder(t)
  await run('sh', ['-c', 'seq 10001 | xargs touch'], { cwd: folder })
  await assert.rejects(nextLayer(folder, []), { code: 'unavailable', message: /more than 10000/ })
  await assert.rejects(removeOtherLayers(folder, []), { code: 'unavailable' })
  await removeFolder(folder)
  await assert.rejects(readdir(folder), { code: 'ENOENT' })
  await rm(folder, { force: true })
})

test('server files: a layer and a base survive a power cut once they are there, the folder too', async (t) => {
  const parent = await mkdtemp(join(tmpdir(), 'server-files-'))
  t.after(() => rm(parent, { recursive: true }))
  const [servers, base] = [join(parent, 'servers'), join(parent, 'base')]
  await mkdir(servers)
  await writeFile(base, 'base', { flush: true })
  using synced = await SyncedFiles.watch()
  const folder = join(servers, 'srv-aaaaa')
  await makeFolder(folder, undefined)
  await addLayerFile(createLayer, folder, { name: 'layer-0.qcow2', size: 2 ** 20, owner: undefined })
  synced.assertSafe(folder)
  await addLayerFile(createLayer, folder, { name: 'layer-1.qcow2', size: 2 ** 20, owner: undefined })
  synced.assertSafe(folder)
  await writeFile(base, 'base', { flush: true })
  assert.ok(await linkBase(base, folder))
  synced.assertSafe(folder)
  await rm(join(folder, 'layer-1.qcow2'))
  assert.ok(await linkBase(base, folder), 'it is there already, but perhaps not on stable storage')
  synced.assertSafe(folder)
})
