import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { digestOf } from '#data/block/block.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { memoryStore } from '#data/store/memory.ts'
import type { Store } from '#data/store/store.ts'
import { DAMAGES, storedPath } from '../../../test/support/damage.ts'
import { randomDisk, storeDisk } from '../../../test/support/store-disk.ts'
import { UnsyncedFiles } from '../../../test/support/unsynced-files.ts'
import { check } from './check.ts'
import { type CopyOptions, copyDisks } from './copy-disks.ts'

const letters = ['a', 'b', 'c', 'd'].map((text) => Buffer.alloc(MiB, text))
const [A, B, C, D] = letters as [Buffer, Buffer, Buffer, Buffer]
const disk = (...blocks: Buffer[]) => ({ size: blocks.length * MiB, block: (index: number) => blocks[index] })
const signal = new AbortController().signal

const rootsOf = (manifests: readonly string[]) =>
  async function* () {
    for (const [index, manifest] of manifests.entries()) yield { manifest, what: `disk ${index}` }
  }

const copy = (from: Store, to: Store, manifests: readonly string[], more: Partial<CopyOptions> = {}) =>
  copyDisks({ from, to, roots: rootsOf(manifests), signal, ...more })

/** Fails where anything in `store` is not sound, or one of these disks is not wholly there. */
async function assertWhole(store: Store, manifests: readonly string[]): Promise<void> {
  const { damaged, missing } = await check({ store, roots: rootsOf(manifests), signal })
  assert.deepEqual([...damaged, ...missing], [])
}

/** The same, but with another way to put. */
function withPut<T extends { readonly put: unknown }>(files: T, put: T['put']): T {
  const get = (target: T, key: string | symbol) => {
    const own = Reflect.get(target, key) as unknown
    return key === 'put' ? put : typeof own === 'function' ? own.bind(target) : own
  }
  return new Proxy(files, { get })
}

async function folderStore(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'copy-disks-'))
  t.after(() => rm(folder, { recursive: true }))
  return { folder, store: await openFilesystemStore(folder) }
}

test('copy: disks are the same in the other store, what they share is copied once, and then nothing is', async () => {
  const [from, to] = [memoryStore(), memoryStore()]
  const manifests = [await storeDisk(from, disk(A, B, A)), await storeDisk(from, disk(B, C))]
  await storeDisk(from, disk(D))
  const first = await copy(from, to, [...manifests, ...manifests])
  assert.deepEqual([first.blocks, first.manifests, first.known], [3, 2, 0])
  await assertWhole(to, manifests)
  assert.equal(await to.blocks.sizeOf(digestOf(D)), undefined)
  const again = await copy(from, to, manifests)
  assert.deepEqual([again.blocks, again.manifests, again.known, again.bytes], [0, 0, 2, 0])
})

test('copy: ended at any moment, it leaves no disk that is not whole, and goes on where it was', async () => {
  const seed = Math.floor(Math.random() * 2 ** 32)
  const from = memoryStore()
  const manifests: string[] = []
  for (let index = 0; index < 4; index++)
    manifests.push(await storeDisk(from, randomDisk(seed + index, 3 * MiB + index)))
  const { blocks: all } = await copy(from, memoryStore(), manifests)
  const random = createRandom(seed)
  const to = memoryStore()
  for (let round = 0, copied = 0; copied < all; round++) {
    let left = random.below(6)
    const ended = new LibraryError('unavailable', 'ended')
    const mayGoOn = () => {
      if (left-- <= 0) throw ended
    }
    const breaking: Store = {
      ...to,
      blocks: withPut(to.blocks, async (digest, bytes) => {
        mayGoOn()
        await to.blocks.put(digest, bytes)
        copied++
      }),
      manifests: withPut(to.manifests, async (digest, parts) => {
        mayGoOn()
        await to.manifests.put(digest, parts)
      }),
    }
    await copy(from, breaking, manifests, { digestsPerPass: 3 }).catch((error) =>
      assert.equal(error, ended, `seed ${seed}, round ${round}`),
    )
    const there = await Array.fromAsync(to.manifests.list(), ({ digest }) => digest)
    await assertWhole(to, there)
    assert.ok(copied <= all, `seed ${seed}: a block was copied twice`)
  }
  await copy(from, to, manifests)
  await assertWhole(to, manifests)
})

test('copy: a disk that is named after a power cut is whole, and after the copy all of them are', async () => {
  const from = memoryStore()
  const manifests = [await storeDisk(from, disk(A, B)), await storeDisk(from, disk(B, C))]
  // What becomes of each name and file that was not synced.
  for (const fate of [0.1, 0.3, 0.6, 0.99]) {
    const files = new UnsyncedFiles(() => fate)
    const open = () =>
      openFilesystemStore('/store', { files: files.operations, syncCommand: '/nowhere/sync' })
    const before = await open()
    const put: Store['manifests']['put'] = async (digest, parts) => {
      await before.manifests.put(digest, parts)
      throw new LibraryError('unavailable', 'the power was cut')
    }
    const breaking: Store = { ...before, manifests: withPut(before.manifests, put) }
    await assert.rejects(copy(from, breaking, manifests), /the power was cut/)
    files.restart()
    const to = await open()
    await assertWhole(to, await Array.fromAsync(to.manifests.list(), ({ digest }) => digest))
    await copy(from, to, manifests)
    files.restart()
    await assertWhole(await open(), manifests)
  }
})

for (const { name, apply } of DAMAGES)
  test(`copy: where of a block ${name}, it is named with what needs it, and the others are copied`, async (t) => {
    const { folder, store: from } = await folderStore(t)
    const [hurt, whole] = [await storeDisk(from, disk(A, B)), await storeDisk(from, disk(A, C))]
    await apply(storedPath(folder, 'blocks', digestOf(B)), storedPath(folder, 'blocks', digestOf(C)))
    const to = memoryStore()
    const { damaged, missing } = await copy(from, to, [hurt, whole])
    const found = [...damaged, ...missing].map(({ kind, digest, hurts }) => [kind, digest, hurts])
    assert.deepEqual(found, [['block', digestOf(B), ['disk 0']]])
    await assertWhole(to, [whole])
    assert.equal(await to.manifests.sizeOf(hurt), undefined)
    await copy(from, to, [hurt], { damagedToo: true })
    assert.notEqual(await to.manifests.sizeOf(hurt), undefined)
    assert.equal(await to.blocks.sizeOf(digestOf(B)), undefined)
  })

for (const { name, apply } of DAMAGES)
  test(`copy: where of what was copied before ${name}, that is mended on demand`, async (t) => {
    const from = memoryStore()
    const { folder, store: to } = await folderStore(t)
    const manifests = [await storeDisk(from, disk(A, B)), await storeDisk(from, disk(B, C))]
    await copy(from, to, manifests)
    const path = (plain: Buffer) => storedPath(folder, 'blocks', digestOf(plain))
    await apply(path(B), path(C))
    const [first, second] = manifests as [string, string]
    await apply(storedPath(folder, 'manifests', first), storedPath(folder, 'manifests', second))
    const { blocks, manifests: mended, known } = await copy(from, to, manifests, { verifyKnown: true })
    assert.deepEqual([blocks, mended, known], [1, 1, 3])
    await assertWhole(to, manifests)
  })

test('copy: a manifest that cannot be read is named, and none of its disk is copied', async (t) => {
  const { folder, store: from } = await folderStore(t)
  const [hurt, whole] = [await storeDisk(from, disk(A, B)), await storeDisk(from, disk(C))]
  await rm(storedPath(folder, 'manifests', hurt))
  const to = memoryStore()
  const { missing } = await copy(from, to, [hurt, whole], { damagedToo: true })
  assert.deepEqual(
    missing.map(({ kind, digest }) => [kind, digest]),
    [['manifest', hurt]],
  )
  await assertWhole(to, [whole])
  assert.equal((await Array.fromAsync(to.blocks.list())).length, 1)
})

test('copy: a store that is away ends it, and so does who started it', async () => {
  const from = memoryStore()
  const manifest = await storeDisk(from, disk(A, B, C))
  const away = new LibraryError('unavailable', 'away')
  const broken = { ...from, blocks: { ...from.blocks, get: () => Promise.reject(away) } }
  await assert.rejects(copy(broken, memoryStore(), [manifest]), away)
  const ended = new Error('ended')
  await assert.rejects(copy(from, memoryStore(), [manifest], { signal: AbortSignal.abort(ended) }), ended)
  const ending = new AbortController()
  const onProgress = () => ending.abort(ended)
  const slow = { bytesPerSecond: 1, signal: ending.signal, onProgress }
  await assert.rejects(copy(from, memoryStore(), [manifest], slow), ended)
})
