import assert from 'node:assert/strict'
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { digestOf } from '#data/block/block.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { memoryStore } from '#data/store/memory.ts'
import type { Store } from '#data/store/store.ts'
import { encode, randomDisk, storeDisk } from '../../../test/support/store-disk.ts'
import { collect } from './collect.ts'
import { walkManifest } from './walk-manifest.ts'

const { signal } = new AbortController()
const LATER = Number.POSITIVE_INFINITY

async function* each<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items
}

const digestsOf = async (files: { list(): AsyncIterable<{ digest: string }> }) =>
  new Set((await Array.fromAsync(files.list())).map(({ digest }) => digest))

async function neededBy(store: Store, manifests: Iterable<string>): Promise<Set<string>> {
  const needed = new Set<string>()
  for (const manifest of manifests)
    for await (const { digest } of walkManifest(store.manifests, manifest, signal)) needed.add(digest)
  return needed
}

/** Three disks: the first two share a block, the last one shares none. */
async function threeDisks(store: Store): Promise<[string, string, string]> {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((letter) => Buffer.alloc(MiB, letter))
  const disk = (...blocks: (Buffer | undefined)[]) => ({
    size: blocks.length * MiB,
    block: (index: number) => blocks[index],
  })
  return [
    await storeDisk(store, disk(a, undefined, b)),
    await storeDisk(store, disk(b, c)),
    await storeDisk(store, disk(d)),
  ]
}

test('collect: removes what no root needs and nothing else', async () => {
  const store = memoryStore()
  const [first, second, third] = await threeDisks(store)
  const collected = await collect({ store, roots: () => each([first]), unclaimedSince: LATER, signal })
  const { bytesRemoved, ...counts } = collected
  assert.deepEqual(counts, { manifestsRemoved: 2, manifestsKept: 1, blocksRemoved: 2, blocksKept: 2 })
  assert.ok(bytesRemoved > 0)
  assert.deepEqual(await digestsOf(store.manifests), new Set([first]))
  assert.deepEqual(await digestsOf(store.blocks), await neededBy(store, [first]))
  for (const gone of [second, third]) assert.equal(await store.manifests.claim(gone), undefined)
})

test('collect: a dry run counts the same and leaves everything', async () => {
  const store = memoryStore()
  const [first] = await threeDisks(store)
  const options = { store, roots: () => each([first]), unclaimedSince: LATER, signal }
  const blocks = await digestsOf(store.blocks)
  const dry = await collect({ ...options, dryRun: true })
  assert.equal((await digestsOf(store.manifests)).size, 3)
  assert.deepEqual(await digestsOf(store.blocks), blocks)
  assert.deepEqual(await collect(options), dry)
})

test('collect: what was put or claimed since stays, and a claimed manifest keeps its blocks', async () => {
  const store = memoryStore()
  const [, second] = await threeDisks(store)
  const unclaimedSince = await store.nextGeneration()
  await store.manifests.claim(second)
  const lone = Buffer.alloc(MiB, 'e')
  await store.blocks.put(digestOf(lone), encode(lone))
  await collect({ store, roots: () => each([]), unclaimedSince, signal })
  assert.deepEqual(await digestsOf(store.manifests), new Set([second]))
  const kept = await neededBy(store, [second])
  assert.deepEqual(await digestsOf(store.blocks), kept.add(digestOf(lone)))
  await collect({ store, roots: () => each([]), unclaimedSince: await store.nextGeneration(), signal })
  assert.equal((await digestsOf(store.manifests)).size + (await digestsOf(store.blocks)).size, 0)
})

test('collect: many passes find the same as one', async () => {
  const counts = []
  for (const digestsPerPass of [3, 1000]) {
    const store = memoryStore()
    const roots: string[] = []
    for (const seed of [1, 2, 3]) roots.push(await storeDisk(store, randomDisk(seed, 12 * MiB + 512)))
    for (const seed of [4, 5]) await storeDisk(store, randomDisk(seed, 5 * MiB))
    const options = { store, roots: () => each(roots), unclaimedSince: LATER, signal, digestsPerPass }
    counts.push(await collect(options))
    assert.deepEqual(await digestsOf(store.blocks), await neededBy(store, roots))
  }
  assert.deepEqual(counts[0], counts[1])
})

test('collect: removes no block while a needed manifest is missing or damaged', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'collect-'))
  t.after(() => rm(folder, { recursive: true }))
  const store = await openFilesystemStore(folder)
  const [first, second] = await threeDisks(store)
  const blocks = await digestsOf(store.blocks)
  const missing = collect({
    store,
    roots: () => each([first, 'f'.repeat(64)]),
    unclaimedSince: LATER,
    signal,
  })
  await assert.rejects(missing, { code: 'corrupt' })
  await writeFile(join(folder, 'manifests', second.slice(0, 2), second), 'not a manifest')
  const damaged = collect({ store, roots: () => each([first, second]), unclaimedSince: LATER, signal })
  await assert.rejects(damaged, { code: 'corrupt' })
  assert.deepEqual(await digestsOf(store.blocks), blocks)
})

test('collect: an abort ends it', async () => {
  const store = memoryStore()
  await threeDisks(store)
  const aborted = AbortSignal.abort(new Error('gone'))
  const collecting = collect({ store, roots: () => each([]), unclaimedSince: LATER, signal: aborted })
  await assert.rejects(collecting, /gone/)
  assert.equal((await digestsOf(store.manifests)).size, 3)
})

test('collect: what is marked with a generation to come goes with the second collection', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'collect-'))
  t.after(() => rm(folder, { recursive: true }))
  await using store = await openFilesystemStore(folder)
  const block = Buffer.alloc(MiB, 'x')
  const digest = digestOf(block)
  await store.blocks.put(digest, encode(block))
  const future = Date.now() / 1000 + 365 * 24 * 3600
  await utimes(join(folder, 'blocks', digest.slice(0, 2), digest), future, future)
  const removed = async () => {
    const unclaimedSince = await store.nextGeneration()
    return (await collect({ store, roots: () => each([]), unclaimedSince, signal })).blocksRemoved
  }
  assert.equal(await removed(), 0)
  assert.equal(await removed(), 1)
})
