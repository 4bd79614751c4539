import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { createDamageRecords } from '#control/library/damage.ts'
import { digestOf } from '#data/block/block.ts'
import { createChecker } from '#data/disk/checker.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { NEW_IMAGE } from '#model/image.ts'
import { openTestCatalog } from '../../test/support/catalogs.ts'
import { DAMAGES, storedPath } from '../../test/support/damage.ts'
import { encode, storeDisk } from '../../test/support/store-disk.ts'
import { BackgroundCheck, type BackgroundCheckOptions } from './background-check.ts'
import { type CheckState, createCheckStates } from './check-state.ts'
import { nameRoots } from './name-roots.ts'

const letters = ['a', 'b', 'c', 'd'].map((text) => Buffer.alloc(MiB, text))
const [A, B, C, D] = letters as [Buffer, Buffer, Buffer, Buffer]
const disk = (...blocks: Buffer[]) => ({ size: blocks.length * MiB, block: (index: number) => blocks[index] })
const silent = { info: () => {}, warn: () => {}, error: () => {} }

/** Two images that share B, and a block D that nothing needs. */
async function open(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'background-check-'))
  const store = await openFilesystemStore(folder)
  const catalog = await openTestCatalog()
  t.after(async () => {
    await catalog[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })
  const account = await catalog.accounts.insert({ name: 'owner', status: 'active', createdAt: 1 })
  const manifests = [await storeDisk(store, disk(A, B)), await storeDisk(store, disk(B, C))]
  await store.blocks.put(digestOf(D), encode(D))
  const ids: string[] = []
  for (const manifest of manifests) {
    const image = await catalog.images.insert({
      ...NEW_IMAGE,
      ...{ accountId: account.id, name: 'web', arch: 'x86_64', status: 'available', description: null },
      ...{ username: null, sourceType: 'upload', sourceTrigger: 'manual', source: null, minRam: null },
      ...{ public: false, compatibilityMode: false, licenceName: null, ancestorId: null, progress: null },
      ...{ manifest, createdAt: ids.length, updatedAt: 1 },
    })
    ids.push(image.id)
  }
  const errors: unknown[] = []
  const states = createCheckStates(catalog)
  const options: BackgroundCheckOptions = {
    checker: createChecker({ storePlace: folder }),
    store,
    records: createDamageRecords({ catalog, now: Date.now }),
    states,
    roots: () => nameRoots(catalog),
    repair: async (id) => {
      throw new LibraryError('conflict', `nothing to mend ${id} from`)
    },
    smallObjects: async function* () {},
    clearQuarantine: async () => {},
    ageMs: 100,
    rate: 1024 * MiB,
    startMs: 0,
    lookMs: 40,
    now: Date.now,
    log: { ...silent, error: (details: unknown) => errors.push(details) },
  }
  const seen = async (action: string, id: string) => {
    const events = await catalog.events.list({ accountId: account.id, resourceId: id, after: 0, limit: 100 })
    return events.filter((event) => event.action === action).length
  }
  /** Checks until `done` says so. */
  const run = async (done: () => Promise<boolean>, change: Partial<BackgroundCheckOptions> = {}) => {
    const ending = new AbortController()
    const running = new BackgroundCheck({ ...options, ...change }).run(ending.signal)
    const deadline = Date.now() + 20_000
    while (!(await done())) {
      assert.ok(Date.now() < deadline, 'it takes too long')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    ending.abort(new Error('that is enough'))
    await running
  }
  const [first, second] = ids as [string, string]
  const pathOf = (plain: Buffer) => storedPath(folder, 'blocks', digestOf(plain))
  return { catalog, store, options, states, run, seen, errors, first, second, manifests, pathOf, folder }
}

const since = async (states: { read(): Promise<CheckState | undefined> }, at: number) => {
  const state = await states.read()
  return state !== undefined && state.startedAt >= at && state.finishedAt !== null
}

test('background check: a sound store has nothing to tell, and rounds follow one another', async (t) => {
  const { run, states, catalog, errors, first } = await open(t)
  await run(() => since(states, Date.now() - 5000))
  const again = Date.now()
  await run(() => since(states, again))
  assert.deepEqual(await catalog.damage.list(10), [])
  assert.equal((await catalog.images.find(first))?.damagedAt, null)
  assert.deepEqual(errors, [])
})

/** The others are those of the test of rounds. */
const MANNERS = ['a byte of its payload differs', 'it is gone', 'it cannot be read']

for (const { name, apply } of DAMAGES.filter(({ name }) => MANNERS.includes(name))) {
  test(`background check: where ${name}, owners are told, and the same block mends it`, async (t) => {
    const { run, states, catalog, store, seen, first, second, pathOf, errors } = await open(t)
    await apply(pathOf(B), pathOf(D))
    await run(async () => (await seen('image.damaged', second)) > 0)
    for (const id of [first, second]) {
      assert.notEqual((await catalog.images.find(id))?.damagedAt, null)
      assert.equal(await seen('image.damaged', id), 1)
    }
    assert.deepEqual(
      (await catalog.damage.list(10)).map(({ digest }) => digest),
      [digestOf(B)],
    )
    assert.equal(await store.blocks.sizeOf(digestOf(B)), undefined)
    assert.ok(errors.length >= 1)
    // It is told once, however often it is found missing.
    const at = Date.now()
    await run(() => since(states, at))
    assert.equal(await seen('image.damaged', first), 1)
    await store.blocks.put(digestOf(B), encode(B))
    await run(async () => (await seen('image.mended', second)) > 0)
    assert.equal((await catalog.images.find(first))?.damagedAt, null)
    assert.deepEqual(await catalog.damage.list(10), [])
  })
}

test('background check: a damaged or missing manifest is told of, and stays where it is', async (t) => {
  const { run, catalog, store, seen, first, second, manifests, folder } = await open(t)
  const [sound, gone] = manifests as [string, string]
  await DAMAGES[0]?.apply(storedPath(folder, 'manifests', sound), '')
  await rm(storedPath(folder, 'manifests', gone))
  await run(async () => (await seen('image.damaged', first)) + (await seen('image.damaged', second)) === 2)
  assert.notEqual(await store.manifests.sizeOf(sound), undefined)
  await storeDisk(store, disk(A, B))
  await storeDisk(store, disk(B, C))
  await run(async () => (await seen('image.mended', first)) + (await seen('image.mended', second)) === 2)
  assert.deepEqual(await catalog.damage.list(10), [])
})

test('background check: a damaged block that nobody needs is moved away, and hurts nobody', async (t) => {
  const { run, catalog, store, states, pathOf } = await open(t)
  await DAMAGES[0]?.apply(pathOf(D), '')
  const at = Date.now()
  await run(() => since(states, at))
  assert.equal(await store.blocks.sizeOf(digestOf(D)), undefined)
  assert.deepEqual(await catalog.damage.list(10), [])
})

test('background check: a restart goes on where the last one was', async (t) => {
  const { run, states, store, catalog, pathOf } = await open(t)
  const digests = (await Array.fromAsync(store.blocks.list())).map(({ digest }) => digest)
  const read = [A, B, C, D].find((plain) => digestOf(plain) === digests[0])
  assert.ok(read)
  // What was read before is not read again in this round.
  await DAMAGES[0]?.apply(pathOf(read), '')
  const startedAt = Date.now()
  const place = { kind: 'block', digest: digests[0] ?? '' } as const
  await states.write({ startedAt, finishedAt: null, place, lastFinishedAt: null })
  const ageMs = 3600_000
  await run(() => since(states, startedAt), { ageMs })
  assert.equal((await states.read())?.startedAt, startedAt)
  assert.deepEqual(await catalog.damage.list(10), [])
})

test('background check: what can be had again is mended, and images that are gone are forgotten', async (t) => {
  const { run, store, seen, first, second, pathOf, catalog } = await open(t)
  await rm(pathOf(A))
  const asked: string[] = []
  const repair = async (id: string) => {
    asked.push(id)
    await store.blocks.put(digestOf(A), encode(A))
    return 'its source' as const
  }
  await run(async () => (await seen('image.mended', first)) > 0, { repair })
  assert.deepEqual(asked, [first])
  await rm(pathOf(C))
  await run(async () => (await seen('image.damaged', second)) > 0)
  await catalog.images.update(second, { status: 'deleted' }, ['available'])
  await run(async () => (await catalog.damage.list(10)).length === 0)
  assert.equal(await seen('image.mended', second), 0)
})

test('background check: small objects are read in each round, and what is wrong is kept until the next', async (t) => {
  const { run, states, errors } = await open(t)
  const wrong = { path: 'acc-12345/c/o', why: 'its bytes have another MD5' }
  const smallObjects = async function* (pace: (bytes: number) => Promise<void>) {
    await pace(16_384)
    yield wrong
  }
  await run(() => since(states, Date.now() - 5000), { smallObjects })
  assert.deepEqual((await states.read())?.objects, [wrong])
  assert.deepEqual(errors[0], wrong)
  const at = Date.now()
  await run(() => since(states, at))
  assert.deepEqual((await states.read())?.objects, [])
})

test('background check: where the store is gone, it stops and says so, and hurts nobody', async (t) => {
  const { run, states, catalog, folder, first, errors } = await open(t)
  await rename(folder, `${folder}-away`)
  await mkdir(folder)
  await run(async () => (await states.read())?.stopped !== undefined)
  assert.deepEqual(await catalog.damage.list(10), [])
  assert.equal((await catalog.images.find(first))?.damagedAt, null)
  assert.equal(errors.length, 1)
  await rm(folder, { recursive: true })
  await rename(`${folder}-away`, folder)
  const at = Date.now()
  await run(() => since(states, at))
  assert.equal((await states.read())?.stopped, undefined)
})
