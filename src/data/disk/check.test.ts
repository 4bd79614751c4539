import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { digestOf } from '#data/block/block.ts'
import { createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { memoryStore } from '#data/store/memory.ts'
import { encode, randomDisk, storeDisk, type TestDisk, withGet } from '../../../test/support/store-disk.ts'
import { check } from './check.ts'
import type { CheckRoot } from './check-findings.ts'

const { signal } = new AbortController()
const letter = (text: string) => Buffer.alloc(MiB, text)
const [A, B, C, D] = ['a', 'b', 'c', 'd'].map(letter) as [Buffer, Buffer, Buffer, Buffer]

function diskOf(...blocks: (Buffer | undefined)[]): TestDisk {
  return { size: blocks.length * MiB, block: (index) => blocks[index] }
}

/** Two images that share B, and a block D that nothing needs. */
async function openLibrary(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'check-'))
  t.after(() => rm(folder, { recursive: true }))
  const store = await openFilesystemStore(folder)
  const first = await storeDisk(store, diskOf(A, undefined, B))
  const second = await storeDisk(store, diskOf(B, C))
  await store.blocks.put(digestOf(D), encode(D))
  const roots = async function* (): AsyncGenerator<CheckRoot> {
    yield { manifest: first, what: 'img-first' }
    yield { manifest: second, what: 'img-second' }
    yield { manifest: second, what: 'img-third' }
  }
  const pathOf = (kind: 'blocks' | 'manifests', digest: string) =>
    join(folder, kind, digest.slice(0, 2), digest)
  return { store, first, second, roots, pathOf }
}

async function flipByte(path: string, at: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await writeFile(path, bytes)
}

const shown = (findings: readonly { digest: string; hurts: readonly string[] }[]) =>
  findings.map(({ digest, hurts }) => [digest, ...hurts])

test('check: a sound store has nothing to report, and all of it was read', async (t) => {
  const { store, roots } = await openLibrary(t)
  const seen: number[] = []
  const report = await check({ store, roots, signal, onProgress: ({ bytes }) => seen.push(bytes) })
  const files = await Array.fromAsync(store.blocks.list())
  files.push(...(await Array.fromAsync(store.manifests.list())))
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  assert.deepEqual(report, { manifests: 2, blocks: 4, bytes, damaged: [], missing: [], truncated: false })
  assert.equal(seen.length, 6)
  assert.equal(seen.at(-1), bytes)
})

test('check: a damaged block is named with every image that it hurts', async (t) => {
  const { store, roots, pathOf } = await openLibrary(t)
  await flipByte(pathOf('blocks', digestOf(B)), 20)
  const report = await check({ store, roots, signal })
  assert.deepEqual(shown(report.damaged), [[digestOf(B), 'img-first', 'img-second', 'img-third']])
  assert.equal(report.damaged[0]?.kind, 'block')
  assert.match(report.damaged[0]?.why ?? '', /checksum/)
  assert.equal(report.blocks, 3)
})

test('check: a folder in the place of a file is damage, and registering again mends it', async (t) => {
  const { store, first, roots, pathOf } = await openLibrary(t)
  for (const path of [pathOf('blocks', digestOf(A)), pathOf('manifests', first)]) {
    await rm(path)
    await mkdir(path)
  }
  const report = await check({ store, roots, signal })
  assert.deepEqual(shown(report.damaged), [[first, 'img-first'], [digestOf(A)]])
  assert.equal(report.blocks, 3)
  assert.equal(await store.blocks.claim(digestOf(A)), undefined)
  await store.blocks.put(digestOf(A), encode(A))
  await check({ store, roots, signal, quarantine: true })
  const mended = await check({ store, roots, signal })
  assert.deepEqual([mended.damaged, shown(mended.missing)], [[], [[first, 'img-first']]])
})

test('check: a block that nothing needs is verified too, and hurts nobody', async (t) => {
  const { store, roots, pathOf } = await openLibrary(t)
  await truncate(pathOf('blocks', digestOf(D)), 5)
  const report = await check({ store, roots, signal })
  assert.deepEqual(shown(report.damaged), [[digestOf(D)]])
})

test('check: a sound block under the name of another is damage', async (t) => {
  const { store, roots, pathOf } = await openLibrary(t)
  await writeFile(pathOf('blocks', digestOf(A)), encode(C))
  const report = await check({ store, roots, signal })
  assert.deepEqual(shown(report.damaged), [[digestOf(A), 'img-first']])
  assert.match(report.damaged[0]?.why ?? '', /another digest/)
})

test('check: right bytes of another length at rest than the manifest says are damage', async (t) => {
  const { store, roots, pathOf } = await openLibrary(t)
  const plain = Buffer.concat([Buffer.alloc(4), A, Buffer.alloc(4)])
  plain.writeUInt32LE(0x80000000 + MiB)
  const codec = openCodec(createCodecMemory(2 * MiB))
  codec.bytes.set(A, 65_536)
  plain.writeUInt32LE(codec.xxh32(65_536, MiB, 0), MiB + 4)
  await writeFile(pathOf('blocks', digestOf(A)), plain)
  const report = await check({ store, roots, signal })
  assert.deepEqual(shown(report.damaged), [[digestOf(A), 'img-first']])
  assert.match(report.damaged[0]?.why ?? '', /its manifest says/)
})

test('check: missing blocks and manifests are named with what they hurt', async (t) => {
  const { store, roots, first, pathOf } = await openLibrary(t)
  await rm(pathOf('blocks', digestOf(C)))
  await rm(pathOf('manifests', first))
  const report = await check({ store, roots, signal })
  assert.deepEqual(report.damaged, [])
  const missing = new Map(report.missing.map(({ kind, digest, hurts }) => [digest, [kind, ...hurts]]))
  assert.deepEqual(
    missing,
    new Map([
      [digestOf(C), ['block', 'img-second', 'img-third']],
      [first, ['manifest', 'img-first']],
    ]),
  )
})

test('check: a damaged manifest is named, in its root or in a page', async (t) => {
  for (const at of [3, 70, 150]) {
    const { store, roots, second, pathOf } = await openLibrary(t)
    await flipByte(pathOf('manifests', second), at)
    const report = await check({ store, roots, signal })
    assert.deepEqual(shown(report.damaged), [[second, 'img-second', 'img-third']])
    assert.equal(report.damaged[0]?.kind, 'manifest')
    assert.equal(report.manifests, 1)
  }
})

test('check: quarantine makes room for the same content, which mends the images', async (t) => {
  const { store, roots, first, pathOf } = await openLibrary(t)
  await flipByte(pathOf('blocks', digestOf(B)), 20)
  await flipByte(pathOf('manifests', first), 150)
  const damaged = await check({ store, roots, signal, quarantine: true })
  assert.equal(damaged.damaged.length, 2)
  const gone = await check({ store, roots, signal })
  assert.deepEqual([gone.damaged.length, gone.missing.length], [0, 2])
  assert.equal(await storeDisk(store, diskOf(A, undefined, B)), first)
  const mended = await check({ store, roots, signal })
  assert.deepEqual([mended.damaged, mended.missing, mended.blocks], [[], [], 4])
})

test('check: the same content stored again mends a manifest that was not moved', async (t) => {
  const { store, roots, first, pathOf } = await openLibrary(t)
  for (const at of [3, 70, 150]) {
    await flipByte(pathOf('manifests', first), at)
    assert.equal(await storeDisk(store, diskOf(A, undefined, B)), first)
    const mended = await check({ store, roots, signal })
    assert.deepEqual([mended.damaged, mended.missing], [[], []])
  }
})

test('check: many passes report the same as one', async () => {
  const reports = []
  const seed = randomInt(2 ** 31)
  for (const digestsPerPass of [3, 1000]) {
    const store = memoryStore()
    const manifest = await storeDisk(store, randomDisk(seed, 12 * MiB + 512))
    const [{ digest } = { digest: '' }] = await Array.fromAsync(store.blocks.list())
    await store.blocks.quarantine(digest)
    const roots = async function* () {
      yield { manifest, what: 'img' }
    }
    reports.push(await check({ store, roots, signal, digestsPerPass }))
  }
  assert.equal(reports[0]?.missing.length, 1, `seed ${seed}`)
  assert.deepEqual(reports[0], reports[1], `seed ${seed}`)
})

test('check: a store that does not answer is no damage, an unreadable file is', async () => {
  const store = memoryStore()
  const manifest = await storeDisk(store, diskOf(A))
  const roots = async function* () {
    yield { manifest, what: 'img' }
  }
  const failing = (error: Error) => withGet(store, () => Promise.reject(error))
  const down = new LibraryError('unavailable', 'get block: the store answers 503')
  await assert.rejects(check({ store: failing(down), roots, signal }), down)
  const cause = Object.assign(new Error('i/o error'), { code: 'EIO' })
  const unreadable = new LibraryError('unavailable', 'get block: the storage answers EIO', { cause })
  const report = await check({ store: failing(unreadable), roots, signal })
  assert.deepEqual(shown(report.damaged), [[digestOf(A), 'img']])
})

test('check: quarantine leaves what cannot be read where it is, for tomorrow it may be readable', async (t) => {
  const { store, roots } = await openLibrary(t)
  const before = await Array.fromAsync(store.blocks.list())
  const cause = Object.assign(new Error('EIO'), { code: 'EIO' })
  const away = new LibraryError('unavailable', 'the storage answers EIO', { cause })
  const broken = withGet(store, () => Promise.reject(away))
  assert.equal(
    (await check({ store: broken, roots, signal, quarantine: true })).damaged.length,
    before.length,
  )
  assert.deepEqual(await Array.fromAsync(store.blocks.list()), before)
})

test('check: what is removed by a collection meanwhile is not missing', async () => {
  const store = memoryStore()
  const manifest = await storeDisk(store, diskOf(A, B))
  let isRoot = true
  const roots = async function* () {
    if (isRoot) yield { manifest, what: 'img' }
  }
  const removeAll = async () => {
    if (!isRoot) return
    isRoot = false
    await store.manifests.remove(manifest, Number.POSITIVE_INFINITY)
    for (const block of [A, B]) await store.blocks.remove(digestOf(block), Number.POSITIVE_INFINITY)
  }
  const report = await check({ store, roots, signal, onProgress: () => void removeAll() })
  assert.deepEqual([report.damaged, report.missing], [[], []])
})

test('check: keeps to its speed, and an abort ends it while it waits', async () => {
  const store = memoryStore()
  const manifest = await storeDisk(store, randomDisk(7, 4 * MiB, 0))
  const roots = async function* () {
    yield { manifest, what: 'img' }
  }
  const startedAt = performance.now()
  const { bytes } = await check({ store, roots, signal, bytesPerSecond: 20 * MiB })
  assert.ok(performance.now() - startedAt >= (bytes / (20 * MiB)) * 1000 - 20)
  const controller = new AbortController()
  const onProgress = () => setImmediate(() => controller.abort(new Error('gone')))
  const checking = check({ store, roots, signal: controller.signal, bytesPerSecond: 1, onProgress })
  await assert.rejects(checking, /gone/)
})
