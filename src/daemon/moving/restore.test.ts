import assert from 'node:assert/strict'
import { appendFile, cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { openCatalog } from '#control/catalog/catalog.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { DAMAGES, storedPath } from '../../../test/support/damage.ts'
import { openWorld, restoreTo, temporaryFolder } from '../../../test/support/moving.ts'
import { createDatabase } from '../../../test/support/postgres.ts'
import { needs } from '../../../test/support/tools.ts'
import { demandAtHome } from '../at-home.ts'
import { catalogPath } from '../data-folder.ts'
import { beginSnapshot, finishSnapshot, listSnapshots, storeOf } from './backup-folder.ts'
import { checkBackup } from './restore.ts'

const signal = new AbortController().signal

/** A library of some images, and a backup of it. */
async function backedUp(seeds: readonly number[] = [1, 2, 3]) {
  const folder = await temporaryFolder()
  const at = (name: string) => join(folder.path, name)
  await using world = await openWorld({ data: at('old') })
  for (const seed of seeds) await world.addImage(seed)
  await mkdir(join(at('old'), 'ssh'))
  await writeFile(join(at('old'), 'ssh', 'ssh_host_ed25519_key'), 'a key')
  const {
    snapshot,
    contents: { schema },
  } = await world.backUp(at('backup'))
  const contents = await world.contents()
  const close = () => folder[Symbol.asyncDispose]()
  return { at, snapshot, schema, contents, backup: at('backup'), [Symbol.asyncDispose]: close }
}

test('restore: into SQLite and PostgreSQL, and from each into the other', needs('postgres'), async () => {
  await using there = await backedUp()
  await using database = await createDatabase({ empty: true })
  await restoreTo(there.backup, { data: there.at('second'), catalog: database.url })
  {
    await using second = await openWorld({ data: there.at('second'), catalog: database.url })
    assert.deepEqual(await second.contents(), there.contents)
    await second.backUp(there.at('back'))
  }
  await restoreTo(there.at('back'), { data: there.at('third') })
  await using third = await openWorld({ data: there.at('third') })
  assert.deepEqual(await third.contents(), there.contents)
  await third.addImage(9)
  const key = join(there.at('third'), 'ssh', 'ssh_host_ed25519_key')
  assert.equal(await readFile(key, 'utf8'), 'a key')
  assert.equal((await stat(key)).mode & 0o777, 0o600)
})

test('restore: only where there is no library, nor a store', async () => {
  await using there = await backedUp()
  {
    await using old = await openWorld({ data: there.at('old') })
    await old.addImage(9)
  }
  await assert.rejects(restoreTo(there.backup, { data: there.at('old') }), { code: 'conflict' })
  await mkdir(there.at('half'))
  await cp(join(there.at('old'), 'store'), join(there.at('half'), 'store'), { recursive: true })
  await assert.rejects(restoreTo(there.backup, { data: there.at('half') }), {
    code: 'conflict',
    message: /store is not empty/,
  })
  await restoreTo(there.backup, { data: there.at('new') })
  const again = await restoreTo(there.backup, { data: there.at('new') })
  assert.equal(again.copied.blocks, 0, 'it had come to its end')
  {
    await using used = await openWorld({ data: there.at('new') })
    await used.addImage(9)
  }
  await assert.rejects(restoreTo(there.backup, { data: there.at('new') }), { code: 'conflict' })
  await assert.rejects(restoreTo(there.at('none'), { data: there.at('other') }), { code: 'not_found' })
  await assert.rejects(
    restoreTo(there.backup, { data: there.at('other') }, { snapshot: '000009_2026-01-01T00-00-00Z' }),
    { code: 'not_found' },
  )
})

test('restore: ended anywhere, it is no library, and goes on where it was', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32)
  const random = createRandom(seed)
  await using there = await backedUp([1, 2, 3, 4, 5, 6])
  const ended = new LibraryError('unavailable', 'ended')
  const data = there.at('new')
  for (let round = 0; round < 3; round++) {
    const ending = new AbortController()
    let left = random.below(3)
    const onProgress = () => {
      if (left-- <= 0) ending.abort(ended)
    }
    await assert.rejects(restoreTo(there.backup, { data }, { signal: ending.signal, onProgress }), ended)
    await using catalog = await openCatalog({ path: catalogPath(data), upTo: there.schema })
    await assert.rejects(demandAtHome(catalog), { code: 'conflict', message: /not wholly come/ })
  }
  const { copied } = await restoreTo(there.backup, { data })
  assert.ok(copied.known > 0, `seed ${seed}: nothing was kept`)
  await using restored = await openWorld({ data })
  await demandAtHome(restored.catalog)
  assert.deepEqual(await restored.contents(), there.contents)
})

/** The copy itself is tried with all of them. */
for (const { name, apply } of DAMAGES.filter(({ name }) => /payload|gone|another/.test(name)))
  test(`restore: where of a block in the backup ${name}, it is named with what needs it`, async () => {
    await using there = await backedUp([1, 2])
    const files = (await readdir(join(storeOf(there.backup), 'blocks'), { recursive: true }))
      .map((path) => path.slice(3))
      .filter((path) => path.length === 64)
      .sort()
    const [hurt, other] = files as [string, string]
    const path = (digest: string) => storedPath(storeOf(there.backup), 'blocks', digest)
    await apply(path(hurt), path(other))
    const report = await checkBackup(there.backup, () => {}, signal)
    const named = [...report.damaged, ...report.missing].filter(({ digest }) => digest === hurt)
    assert.match(named[0]?.hurts.join() ?? '', /img-.* of 000001_/)
    const data = there.at('new')
    const { isFilled, copied } = await restoreTo(there.backup, { data })
    assert.equal(isFilled, false)
    const found = [...copied.damaged, ...copied.missing]
    assert.deepEqual(
      found.map(({ kind, digest }) => [kind, digest]),
      [['block', hurt]],
    )
    assert.match(found[0]?.hurts.join() ?? '', /img-\w{5} \(image \d\)/)
    const despite = await restoreTo(there.backup, { data }, { despiteDamage: true })
    assert.equal(despite.isFilled, true)
  })

test('restore: a snapshot of which any file is damaged is not used, and one that is mended is', async () => {
  await using there = await backedUp()
  const { folder, name } = there.snapshot
  const damages = [
    (path: string) => truncate(path, 0),
    (path: string) => appendFile(path, 'x'),
    (path: string) => rm(path),
  ]
  for (const [index, file] of (await readdir(folder)).entries()) {
    const path = join(folder, file)
    const before = await readFile(path)
    // One that is empty cannot be cut shorter.
    const damage = damages[before.length === 0 ? 1 : index % damages.length]
    await damage?.(path)
    await assert.rejects(
      restoreTo(there.backup, { data: there.at('new') }),
      { code: 'corrupt', message: new RegExp(name) },
      file,
    )
    await writeFile(path, before)
  }
  await restoreTo(there.backup, { data: there.at('new') })
})

test('restore: tables of an older version are filled as they were, and then brought up to date', async () => {
  await using folder = await temporaryFolder()
  const backup = join(folder.path, 'backup')
  await using world = await openWorld({ data: join(folder.path, 'old') })
  await world.addImage(1)
  const { snapshot, contents } = await world.backUp(backup)
  const old = await beginSnapshot(backup)
  const tables = contents.tables.filter(({ table }) => !/^(damage|image_names)/.test(table))
  for (const file of [...tables.map(({ table }) => `${table}.jsonl`), 'roots.jsonl']) {
    const text = await readFile(join(snapshot.folder, file), 'utf8')
    await writeFile(join(old.folder, file), text.replaceAll(/"damaged_at":null,/g, ''))
  }
  await finishSnapshot(backup, old, { ...contents, tables, schema: '0004-servers' })
  await restoreTo(backup, { data: join(folder.path, 'new') })
  await using restored = await openWorld({ data: join(folder.path, 'new') })
  assert.deepEqual(await restored.contents(), await world.contents())
  const found = await restored.catalog.images.listNamed(world.accountId, { beginning: 'image' })
  assert.equal(found.length, 1)

  const newer = await beginSnapshot(backup)
  for (const { table } of tables) await writeFile(join(newer.folder, `${table}.jsonl`), '')
  await writeFile(join(newer.folder, 'roots.jsonl'), '')
  await finishSnapshot(backup, newer, { ...contents, tables, schema: '9999-later' })
  assert.equal((await listSnapshots(backup)).length, 3)
  await assert.rejects(restoreTo(backup, { data: join(folder.path, 'newer') }), {
    code: 'invalid',
    message: /older/,
  })
})

test('restore: servers are left out, and said so', async () => {
  await using folder = await temporaryFolder()
  await using world = await openWorld({ data: join(folder.path, 'old') })
  const image = await world.addImage(1)
  const server = await world.catalog.transaction(({ servers }) =>
    servers.insert(SERVER(world.accountId, image)),
  )
  const { contents } = await world.backUp(join(folder.path, 'backup'))
  assert.deepEqual(contents.leftOut.servers, [{ id: server?.id, name: 'a server' }])
  await restoreTo(join(folder.path, 'backup'), { data: join(folder.path, 'new') })
  await using restored = await openWorld({ data: join(folder.path, 'new') })
  assert.deepEqual(await restored.catalog.servers.listExisting(), [])
})

const SERVER = (accountId: string, imageId: string) =>
  ({
    ...{ accountId, imageId, name: 'a server', status: 'inactive', goal: 'stopped', locked: false },
    ...{ typeId: 'typ-05ssd', cores: 1, ram: 512, zoneId: 'zon-gb1aa', compatibilityMode: false },
    ...{ userData: null, macAddress: '02:00:00:00:00:01', slot: 1, sshPort: null, accelerator: null },
    ...{ trouble: null, console: null, createdAt: 1, startedAt: null, deletedAt: null, updatedAt: 1 },
  }) as never
