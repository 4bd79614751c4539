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
