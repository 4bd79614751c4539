import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { BLOCK_SIZE, maxStoredSize } from '#data/block/block.ts'
import { exampleBlock, isError } from './contract.ts'
import { memoryStore } from './memory.ts'
import { cacheReads } from './read-cache.ts'

async function open(t: TestContext, bytes = 1_000_000) {
  const folder = await mkdtemp(join(tmpdir(), 'cache-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const store = memoryStore()
  let reads = 0
  const counted = {
    readInto(digest: string, target: Uint8Array) {
      reads++
      return store.blocks.readInto(digest, target)
    },
  }
  const reopen = () => cacheReads(counted, { folder, bytes }, 0)
  const cache = reopen()
  const read = async (digest: string, from = cache) => {
    const target = new Uint8Array(maxStoredSize(BLOCK_SIZE))
    return Buffer.from(target.subarray(0, await from.readInto(digest, target)))
  }
  return { folder, store, read, reopen, reads: () => reads }
}

test('cache: what was read once is read from the folder, also after a restart', async (t) => {
  const { store, read, reopen, reads } = await open(t)
  const { digest, stored } = exampleBlock(1)
  await store.blocks.put(digest, stored)
  for (const from of [undefined, undefined, reopen()])
    assert.deepEqual(await read(digest, from), Buffer.from(stored))
  assert.equal(reads(), 1)
})

const damages: Readonly<Record<string, (path: string) => Promise<void>>> = {
  'a bit that flipped': async (path) => {
    const bytes = await readFile(path)
    bytes[20] = (bytes[20] ?? 0) ^ 1
    await writeFile(path, bytes)
  },
  'an end that is missing': (path) => truncate(path, 30),
  'nothing in it': (path) => truncate(path, 0),
  'too much in it': (path) => truncate(path, 3 * BLOCK_SIZE),
}
for (const [what, damage] of Object.entries(damages)) {
  test(`cache: a file with ${what} is read from the store, and replaced`, async (t) => {
    const { folder, store, read, reads } = await open(t)
    const { digest, stored } = exampleBlock(2)
    await store.blocks.put(digest, stored)
    await read(digest)
    await damage(join(folder, digest))
    for (let time = 0; time < 2; time++) assert.deepEqual(await read(digest), Buffer.from(stored))
    assert.equal(reads(), 2)
  })
}

test('cache: what is damaged in the store is not kept, and what is missing is told', async (t) => {
  const { folder, store, read, reads } = await open(t)
  const { digest, stored } = exampleBlock(3)
  const damaged = Uint8Array.from(stored)
  damaged[20] = (damaged[20] ?? 0) ^ 1
  await store.blocks.put(digest, damaged)
  for (let time = 0; time < 2; time++) assert.deepEqual(await read(digest), Buffer.from(damaged))
  assert.equal(reads(), 2)
  assert.deepEqual(await readdir(folder), [])
  await assert.rejects(read(exampleBlock(4).digest), isError('not_found'))
})

test('cache: it stays within its size, and what was used last stays', async (t) => {
  const { folder, store, read } = await open(t, 60_000)
  const blocks = Array.from({ length: 40 }, (_, seed) => exampleBlock(100 + seed, 4000 + seed))
  for (const { digest, stored } of blocks) await store.blocks.put(digest, stored)
  const [first] = blocks
  assert.ok(first)
  for (const [at, { digest }] of blocks.entries()) {
    await read(digest)
    await read(first.digest)
    // Files of one moment have no order.
    await utimes(join(folder, digest), at + 1, at + 1).catch(() => undefined)
  }
  let sum = 0
  for (const name of await readdir(folder)) sum += (await stat(join(folder, name))).size
  assert.ok(sum <= 60_000 * 1.1, String(sum))
  assert.ok((await readdir(folder)).includes(blocks.at(-1)?.digest ?? ''))
})

test('cache: without its folder, all is read from the store', async (t) => {
  const { folder, store, read, reads } = await open(t)
  await rm(folder, { recursive: true })
  const { digest, stored } = exampleBlock(5)
  await store.blocks.put(digest, stored)
  for (let time = 0; time < 2; time++) assert.deepEqual(await read(digest), Buffer.from(stored))
  assert.equal(reads(), 2)
})
