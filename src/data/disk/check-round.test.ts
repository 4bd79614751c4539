import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { digestOf } from '#data/block/block.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { memoryStore } from '#data/store/memory.ts'
import type { Store } from '#data/store/store.ts'
import { DAMAGES, storedPath } from '../../../test/support/damage.ts'
import { encode, storeDisk, withGet } from '../../../test/support/store-disk.ts'
import { bytesAfter, type CheckPlace, checkRound, type DamagedFile, ROUND_START } from './check-round.ts'

const letters = ['a', 'b', 'c'].map((text) => Buffer.alloc(MiB, text))
const [A, B, C] = letters as [Buffer, Buffer, Buffer]
const disk = (...blocks: Buffer[]) => ({ size: blocks.length * MiB, block: (index: number) => blocks[index] })

async function open(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'check-round-'))
  t.after(() => rm(folder, { recursive: true }))
  const store = await openFilesystemStore(folder)
  const manifest = await storeDisk(store, disk(A, B, C))
  return { folder, store, manifest, pathOf: (plain: Buffer) => storedPath(folder, 'blocks', digestOf(plain)) }
}

async function round(store: Store, after = ROUND_START) {
  const damaged = new Map<string, DamagedFile>()
  const places: CheckPlace[] = []
  let paced = 0
  await checkRound({
    store,
    after,
    signal: new AbortController().signal,
    async pace(bytes) {
      paced += bytes
    },
    onDamaged: (file) => damaged.set(file.digest, file),
    onPlace: (place) => places.push(place),
  })
  return { damaged: [...damaged.values()], places, paced }
}

for (const { name, apply } of DAMAGES) {
  test(`a round: where ${name}, just that block is damaged, and in quarantine`, async (t) => {
    const { folder, store, pathOf } = await open(t)
    await apply(pathOf(B), pathOf(C))
    const { damaged } = await round(store)
    assert.deepEqual(
      damaged.map(({ kind, digest, isMissing }) => [kind, digest, isMissing]),
      [['block', digestOf(B), damaged[0]?.isMissing]],
    )
    assert.equal(await store.blocks.sizeOf(digestOf(B)), undefined)
    assert.equal((await readdir(join(folder, 'quarantine'))).length, name === 'it is gone' ? 0 : 1)
    await store.blocks.put(digestOf(B), encode(B))
    assert.deepEqual((await round(store)).damaged, [])
  })
}

test('a round: reads all in order, and goes on behind any place', async (t) => {
  const { store } = await open(t)
  const all = await round(store)
  assert.equal(all.places.length, 4)
  assert.ok(all.paced >= (await bytesAfter(store, ROUND_START)))
  for (const [at, place] of all.places.entries()) {
    assert.deepEqual((await round(store, place)).places, all.places.slice(at + 1))
  }
  assert.equal(await bytesAfter(store, all.places.at(-1) ?? ROUND_START), 0)
})

test('a round: a bad moment is no damage, and a store that is away ends it', async () => {
  const store = memoryStore()
  await storeDisk(store, disk(A))
  let asked = 0
  const once = withGet(store, (digest) => {
    if (asked++ === 0) throw new LibraryError('corrupt', 'a bad moment')
    return store.blocks.get(digest)
  })
  assert.deepEqual((await round(once)).damaged, [])
  const away = new LibraryError('unavailable', 'the store is away')
  await assert.rejects(round(withGet(store, () => Promise.reject(away))), away)
  assert.notEqual(await store.blocks.sizeOf(digestOf(A)), undefined)
})

test('a round: what cannot be read at all is told of, and not moved', async () => {
  const store = memoryStore()
  await storeDisk(store, disk(A))
  const cause = Object.assign(new Error('no right'), { code: 'EACCES' })
  const closed = new LibraryError('unavailable', 'the storage answers EACCES', { cause })
  assert.equal((await round(withGet(store, () => Promise.reject(closed)))).damaged.length, 1)
  assert.notEqual(await store.blocks.sizeOf(digestOf(A)), undefined)
})

const unreadable = (code = 'EIO') =>
  new LibraryError('unavailable', `the storage answers ${code}`, {
    cause: Object.assign(new Error(code), { code }),
  })

async function storeMany(count: number) {
  const store = memoryStore()
  const letters = Array.from({ length: count }, (_, index) => Buffer.alloc(512, `block ${index}`))
  await storeDisk(store, { size: count * MiB, block: (index) => Buffer.alloc(MiB, letters[index]) })
  return store
}

test('a round: where a disk goes away in the middle, nothing is told or moved, and the round ends', async () => {
  const store = await storeMany(60)
  const before = await Array.fromAsync(store.blocks.list())
  let reads = 0
  const away = withGet(store, (digest) =>
    ++reads > 10 ? Promise.reject(unreadable()) : store.blocks.get(digest),
  )
  const told: DamagedFile[] = []
  const places: CheckPlace[] = []
  const signal = new AbortController().signal
  const running = checkRound({
    store: away,
    after: ROUND_START,
    signal,
    pace: async () => {},
    onDamaged: (file) => told.push(file),
    onPlace: (place) => places.push(place),
  })
  await assert.rejects(running, { code: 'unavailable', message: /32 stored files in a row/ })
  assert.deepEqual([told.length, places.length], [0, 11])
  assert.deepEqual(await Array.fromAsync(store.blocks.list()), before)
})

test('a round: wrong bytes wherever it looks are the fault of memory or a controller; nothing is moved', async () => {
  const store = await storeMany(60)
  const wrong = withGet(store, async (digest) => (await store.blocks.get(digest)).subarray(0, 99))
  await assert.rejects(round(wrong), { code: 'unavailable' })
  assert.equal((await Array.fromAsync(store.blocks.list())).length, 60)
})

test('a round: a disk that is away for some files is read again once it answers', async () => {
  const store = await storeMany(60)
  let reads = 0
  const flaky = withGet(store, (digest) => {
    reads++
    return reads > 10 && reads < 30 ? Promise.reject(unreadable()) : store.blocks.get(digest)
  })
  const { damaged, places } = await round(flaky)
  assert.deepEqual(damaged, [])
  assert.equal(places.at(-1)?.digest, (await Array.fromAsync(store.blocks.list())).at(-1)?.digest)
})

test('a round: where nothing at all can be read, the disk is at fault, however little there is', async () => {
  const store = memoryStore()
  await storeDisk(store, disk(A))
  const open = () => Promise.reject(unreadable())
  const away = withGet({ ...store, manifests: { ...methodsOf(store), open } }, open)
  await assert.rejects(round(away), { code: 'unavailable' })
})

function methodsOf({ manifests }: Store): Store['manifests'] {
  return {
    claim: (digest) => manifests.claim(digest),
    sizeOf: (digest) => manifests.sizeOf(digest),
    put: (digest, parts) => manifests.put(digest, parts),
    mend: (digest, parts) => manifests.mend(digest, parts),
    open: (digest) => manifests.open(digest),
    remove: (digest, since) => manifests.remove(digest, since),
    list: (after) => manifests.list(after),
    quarantine: (digest) => manifests.quarantine(digest),
  }
}
