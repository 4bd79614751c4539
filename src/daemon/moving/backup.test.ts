import assert from 'node:assert/strict'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { readRoots } from '#control/library/roots.ts'
import { UploadGuard } from '#control/orbit/upload-guard.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { collect } from '#data/disk/collect.ts'
import { isFull } from '#data/store/storage-errors.ts'
import { openWorld, restoreTo, temporaryFolder } from '../../../test/support/moving.ts'
import { createDatabase } from '../../../test/support/postgres.ts'
import { mountSmallDisk } from '../../../test/support/small-disk.ts'
import { needs } from '../../../test/support/tools.ts'
import { prune } from './backup.ts'
import { listSnapshots } from './backup-folder.ts'
import { checkBackup } from './restore.ts'

const signal = new AbortController().signal

async function inFolders() {
  const folder = await temporaryFolder()
  const at = (name: string) => join(folder.path, name)
  return { at, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

test('backup: what is restored is what there was, and only what is new is copied', async () => {
  await using folder = await inFolders()
  await using world = await openWorld({ data: folder.at('old') })
  for (let seed = 1; seed <= 5; seed++) await world.addImage(seed)
  const first = await world.backUp(folder.at('backup'))
  await world.addImage(6)
  const then = await world.contents()
  const second = await world.backUp(folder.at('backup'))
  assert.ok(first.copied.blocks > 0 && second.copied.blocks <= 3)
  assert.deepEqual([second.copied.manifests, second.copied.known >= 5], [1, true])
  await world.addImage(7)

  const { isFilled } = await restoreTo(folder.at('backup'), { data: folder.at('new') })
  assert.equal(isFilled, true)
  await using restored = await openWorld({ data: folder.at('new') })
  assert.deepEqual(await restored.contents(), then)
})

test('backup: nobody else can read it, and it says that it is one', async () => {
  await using folder = await inFolders()
  await using world = await openWorld({ data: folder.at('old') })
  await world.addImage(1)
  const { snapshot } = await world.backUp(folder.at('backup'))
  const paths = await readdir(snapshot.folder)
  for (const name of paths) assert.equal((await stat(join(snapshot.folder, name))).mode & 0o777, 0o600, name)
  for (const name of ['snapshots', 'store'])
    assert.equal((await stat(join(folder.at('backup'), name))).mode & 0o777, 0o700, name)
  assert.ok(!paths.some((name) => /token|pins|guards|leases|jobs/.test(name)))
  assert.match(await readFile(join(folder.at('backup'), 'README.txt'), 'utf8'), /image-library restore/)
})

test('backup: of many snapshots the newest stay, with what they need and no more', async () => {
  await using folder = await inFolders()
  await using world = await openWorld({ data: folder.at('old') })
  const ids: string[] = []
  for (let seed = 1; seed <= 4; seed++) {
    ids.push(await world.addImage(seed))
    await world.backUp(folder.at('backup'))
  }
  for (const id of ids.slice(0, 3))
    await world.catalog.images.update(id, { status: 'deleted' }, ['available'])
  const last = await world.contents()
  await world.backUp(folder.at('backup'))
  const all = await listSnapshots(folder.at('backup'))
  const pruned = await prune(folder.at('backup'), 2, signal)
  assert.deepEqual(
    pruned.snapshots,
    all.slice(0, 3).map(({ name }) => name),
  )
  const first = await prune(folder.at('backup'), 1, signal)
  assert.ok(first.blocks > 0)
  const { damaged, missing, blocks } = await checkBackup(folder.at('backup'), () => {}, signal)
  assert.deepEqual([damaged, missing], [[], []])
  assert.ok(blocks <= 3)
  await restoreTo(folder.at('backup'), { data: folder.at('new') })
  await using restored = await openWorld({ data: folder.at('new') })
  assert.deepEqual(await restored.contents(), last)
})

test('backup: one that was ended anywhere is no snapshot, and the next goes on where it was', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32)
  const random = createRandom(seed)
  await using folder = await inFolders()
  await using world = await openWorld({ data: folder.at('old') })
  for (let image = 1; image <= 8; image++) await world.addImage(seed + image)
  const ended = new LibraryError('unavailable', 'ended')
  let copied = 0
  for (let round = 0; round < 4; round++) {
    const ending = new AbortController()
    let left = random.below(4)
    const onProgress = ({ blocks }: { blocks: number }) => {
      copied += blocks > 0 ? 1 : 0
      if (left-- <= 0) ending.abort(ended)
    }
    await world.backUp(folder.at('backup'), { signal: ending.signal, onProgress }).catch((error) => {
      assert.equal(error, ended, `seed ${seed}`)
    })
    const snapshots = await listSnapshots(folder.at('backup'))
    if (snapshots.length > 0) break
  }
  const { copied: rest } = await world.backUp(folder.at('backup'))
  const stored = await Array.fromAsync(world.store.blocks.list())
  assert.ok(rest.blocks < stored.length || copied === 0, `seed ${seed}: nothing was kept`)
  assert.equal((await readdir(join(folder.at('backup'), 'snapshots'))).length >= 1, true)
  assert.ok(!(await readdir(join(folder.at('backup'), 'snapshots'))).some((name) => /^unfinished/.test(name)))
  await restoreTo(folder.at('backup'), { data: folder.at('new') })
  await using restored = await openWorld({ data: folder.at('new') })
  assert.deepEqual(await restored.contents(), await world.contents())
})

test('backup: two to one folder at once are refused', async () => {
  await using folder = await inFolders()
  await using world = await openWorld({ data: folder.at('old') })
  await world.addImage(1)
  const both = await Promise.allSettled([1, 2].map(() => world.backUp(folder.at('backup'))))
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  for (const end of both) if (end.status === 'rejected') assert.equal(end.reason.code, 'conflict')
})

for (const place of ['SQLite', 'PostgreSQL'] as const)
  test(`backup: while images come and go and collections run, in ${place}`, {
    ...(place === 'PostgreSQL' ? needs('postgres') : {}),
  }, async () => {
    const seed = Math.floor(Math.random() * 2 ** 32)
    const random = createRandom(seed)
    await using folder = await inFolders()
    await using database = place === 'PostgreSQL' ? await createDatabase() : undefined
    await using world = await openWorld({
      data: folder.at('old'),
      ...(database ? { catalog: database.url } : {}),
    })
    const { catalog, store } = world
    const now = Date.now
    await using guard = new UploadGuard({ catalog, holder: 'library', now, generations: store })
    const living: string[] = []
    const ending = new AbortController()
    const comeAndGo = async () => {
      for (let count = 0; count < (database ? 30 : 120); count++) {
        await using _kept = await guard.keep()
        living.push(await world.addImage(random.below(1000)))
        const gone = random.chance(0.6) ? living.splice(random.below(living.length), 1)[0] : undefined
        if (gone !== undefined) await catalog.images.update(gone, { status: 'deleted' }, ['available'])
      }
    }
    const collectAll = async () => {
      while (!ending.signal.aborted) {
        const { manifests, unclaimedSince } = await readRoots({ catalog, now, generations: store })
        await collect({ store, roots: manifests, unclaimedSince, signal })
      }
    }
    const backUpAll = async () => {
      for (let count = 0; count < 4; count++) {
        const { contents } = await world.backUp(folder.at('backup'))
        assert.deepEqual(contents.leftOut.damaged, [], `seed ${seed}`)
      }
    }
    const collecting = collectAll()
    await Promise.all([comeAndGo(), backUpAll()])
    ending.abort()
    await collecting
    const { damaged, missing } = await checkBackup(folder.at('backup'), () => {}, signal)
    assert.deepEqual([damaged, missing], [[], []], `seed ${seed}`)
    for (const { name: snapshot } of (await listSnapshots(folder.at('backup'))).slice(-2)) {
      const data = folder.at(snapshot)
      await restoreTo(folder.at('backup'), { data }, { snapshot })
      await using restored = await openWorld({ data })
      await restored.contents()
    }
  })

test('backup: a full disk ends it with words, and leaves the snapshots before', async (t) => {
  await using folder = await inFolders()
  if (!mountSmallDisk(folder.at('disk'), 3)) return t.skip('only root may mount a disk')
  const { execFileSync } = await import('node:child_process')
  try {
    await using world = await openWorld({ data: folder.at('old') })
    await world.addImage(1)
    await world.backUp(join(folder.at('disk'), 'backup'))
    await writeFile(join(folder.at('disk'), 'ballast'), Buffer.alloc(4 * MiB)).catch(() => {})
    await world.addImage(2)
    await assert.rejects(world.backUp(join(folder.at('disk'), 'backup')), isFull)
    assert.equal((await listSnapshots(join(folder.at('disk'), 'backup'))).length, 1)
    await rm(join(folder.at('disk'), 'ballast'))
    await world.backUp(join(folder.at('disk'), 'backup'))
    assert.equal((await listSnapshots(join(folder.at('disk'), 'backup'))).length, 2)
  } finally {
    execFileSync('umount', [folder.at('disk')])
  }
})

test('backup: what is damaged in the library is named, and all else is backed up', async () => {
  await using folder = await inFolders()
  await using world = await openWorld({ data: folder.at('old') })
  const [hurt] = [await world.addImage(1), await world.addImage(2)]
  const image = await world.catalog.images.find(hurt)
  await rm(join(folder.at('old'), 'store', 'manifests', String(image?.manifest).slice(0, 2)), {
    recursive: true,
  })
  const { contents } = await world.backUp(folder.at('backup'))
  assert.match(contents.leftOut.damaged.join('\n'), new RegExp(`missing manifest[^]*needed by ${hurt}`))
  await assert.doesNotReject(prune(folder.at('backup'), 1, signal))
  const { isFilled, copied } = await restoreTo(
    folder.at('backup'),
    { data: folder.at('new') },
    { despiteDamage: true },
  )
  assert.ok(isFilled && copied.missing.length === 1)
})

test('backup: where it stands in the way of another file, it says so', async () => {
  await using folder = await inFolders()
  await using world = await openWorld({ data: folder.at('old') })
  await writeFile(folder.at('file'), '')
  await assert.rejects(world.backUp(folder.at('file')), { code: 'unavailable', message: /file/ })
  await assert.rejects(listSnapshots(folder.at('none')), { code: 'not_found' })
})
