import assert from 'node:assert/strict'
import { hash, randomInt } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { GiB, MiB, TiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { BLOCK_SIZE, blockCount, blockLength, maxStoredSize, storedZeroBlock } from '#data/block/block.ts'
import { createRandom, type Random } from '#data/codec/codec.fixtures.ts'
import { memoryStore } from '#data/store/memory.ts'
import type { Digest, Store } from '#data/store/store.ts'
import { HEADER_SIZE, PAGE_BLOCKS, PAGE_SIZE, rootSize, TABLE_ENTRY_SIZE, writeU64 } from './layout.ts'
import { openManifest } from './manifest.ts'
import { ManifestWriter } from './writer.ts'

const seed = randomInt(2 ** 31)
const directory = await mkdtemp(join(tmpdir(), 'manifest-'))
after(() => rm(directory, { recursive: true }))

type Entries = Map<number, { digest: Digest; storedLength: number }>
const named = (index: number) => hash('sha256', `block ${index}`, 'hex')
const isCorrupt = (error: unknown) => error instanceof LibraryError && error.code === 'corrupt'

/** Random blocks of a disk, with whole pages of zeros among them. */
function randomEntries(random: Random, diskSize: number): Entries {
  const entries: Entries = new Map()
  for (let index = 0; index < blockCount(diskSize); index++) {
    if (index % PAGE_BLOCKS === 0 && random.chance(0.4)) index += PAGE_BLOCKS - 1
    else if (random.chance(0.6)) {
      const longest = maxStoredSize(blockLength(diskSize, index))
      entries.set(index, { digest: named(index), storedLength: 9 + random.below(longest - 8) })
    }
  }
  return entries
}

async function write(store: Store, diskSize: number, entries: Entries, options: { heldPages?: number } = {}) {
  await using writer = new ManifestWriter({ directory, ...options })
  for (const [index, { digest, storedLength }] of entries) await writer.set(index, digest, storedLength)
  return writer.finish(store.manifests, diskSize)
}

function shuffled<T>(random: Random, things: readonly T[]): T[] {
  return things
    .map((thing) => ({ thing, order: random.below(2 ** 30) }))
    .sort((a, b) => a.order - b.order)
    .map(({ thing }) => thing)
}

async function bytesOf(store: Store, digest: Digest): Promise<Buffer> {
  await using file = await store.manifests.open(digest)
  const bytes = Buffer.alloc(file.size ?? 0)
  await file.readAt(bytes, 0)
  return bytes
}

/** Reads all of a manifest whose bytes may be damaged. */
async function readAll(digest: Digest, bytes: Uint8Array): Promise<void> {
  const store = memoryStore()
  await store.manifests.put(digest, [bytes])
  await using manifest = await openManifest(store.manifests, digest)
  for (let page = 0; page < manifest.pageCount; page++) await manifest.page(page)
}

test('manifest: every block comes back, in any order of writing and with any memory', async () => {
  const random = createRandom(seed)
  for (let round = 0; round < 12; round++) {
    const where = `seed ${seed} round ${round}`
    const diskSize = random.below(4 * GiB) + 1
    const entries = randomEntries(random, diskSize)
    const store = memoryStore()
    const put = await write(store, diskSize, entries)
    const mixed = new Map(shuffled(random, [...entries]))
    assert.deepEqual(await write(store, diskSize, mixed, { heldPages: 2 }), put, where)
    await using manifest = await openManifest(store.manifests, put.digest, { cachedPages: 2 })
    assert.equal(manifest.diskSize, diskSize)
    assert.equal(manifest.dataBlocks, entries.size, where)
    assert.deepEqual(put, {
      digest: put.digest,
      diskSize,
      blockCount: manifest.blockCount,
      dataBlocks: entries.size,
      storedSize: manifest.storedSize,
    })
    for (let index = 0; index < manifest.blockCount; index += 1 + random.below(20))
      assert.deepEqual(await manifest.entry(index), entries.get(index), `${where} block ${index}`)
    const first = random.below(manifest.blockCount)
    const listed = await Array.fromAsync(manifest.entries(first))
    const expected = [...entries].filter(([index]) => index >= first)
    assert.deepEqual(
      listed,
      expected.map(([index, entry]) => ({ index, ...entry })),
      where,
    )
  }
  assert.deepEqual(await readdir(directory), [], 'spilled pages leave no file behind')
})

test('manifest: finds the block of any byte at rest, and any data block by its rank', async () => {
  const random = createRandom(seed)
  for (let round = 0; round < 6; round++) {
    const where = `seed ${seed} round ${round}`
    const diskSize = random.below(3 * GiB) + 1
    const entries = randomEntries(random, diskSize)
    const store = memoryStore()
    const { digest } = await write(store, diskSize, entries)
    await using manifest = await openManifest(store.manifests, digest)
    let storedOffset = 0
    for (let index = 0; index < manifest.blockCount; index++) {
      const zeroLength = storedZeroBlock(blockLength(diskSize, index)).length
      const storedLength = entries.get(index)?.storedLength ?? zeroLength
      if (index % PAGE_BLOCKS < 2 || random.chance(0.05)) {
        const expected = { index, storedOffset, storedLength }
        for (const offset of [0, storedLength - 1, random.below(storedLength)])
          assert.deepEqual(await manifest.findStored(storedOffset + offset), expected, where)
      }
      storedOffset += storedLength
    }
    assert.equal(manifest.storedSize, storedOffset, where)
    const indexes = [...entries.keys()]
    for (let rank = 0; rank < indexes.length; rank += 1 + random.below(30))
      assert.equal((await manifest.findData(rank)).index, indexes[rank], where)
    await assert.rejects(manifest.findStored(storedOffset), /internal error/)
    await assert.rejects(manifest.findData(indexes.length), /internal error/)
  }
})

test('manifest: the same disk has the same digest for ever', async () => {
  const entries: Entries = new Map([
    [0, { digest: named(0), storedLength: 9 }],
    [1, { digest: named(1), storedLength: maxStoredSize(BLOCK_SIZE) }],
    [1500, { digest: named(1500), storedLength: 77 }],
  ])
  const { digest } = await write(memoryStore(), 1500 * MiB + 100, entries)
  // Image identities and every stored manifest depend on it.
  assert.equal(digest, '7287b1f0387ca0c0d8312fcfbdf08bc67f6bc76475e6631b148ebf6288213c2f')
})

test('manifest: an empty disk and one of zeros have no pages', async () => {
  const store = memoryStore()
  for (const [diskSize, pages] of [
    [0, 0],
    [1, 1],
    [TiB, 2048],
  ] as const) {
    const { digest, storedSize } = await write(store, diskSize, new Map())
    assert.equal((await bytesOf(store, digest)).length, HEADER_SIZE + pages * TABLE_ENTRY_SIZE)
    await using manifest = await openManifest(store.manifests, digest)
    assert.equal(manifest.storedSize, storedSize)
    assert.deepEqual(await Array.fromAsync(manifest.entries()), [])
    if (diskSize > 0) assert.equal(await manifest.entry(manifest.blockCount - 1), undefined)
  }
})

test('manifest: a disk that ends in a short block counts it as it is', async () => {
  const store = memoryStore()
  const { storedSize } = await write(store, MiB + 5, new Map())
  assert.equal(storedSize, storedZeroBlock(MiB).length + storedZeroBlock(5).length)
})

test('manifest writer: a block past the end of the disk is a bug', async () => {
  const entries: Entries = new Map([[3, { digest: named(3), storedLength: 50 }]])
  await assert.rejects(write(memoryStore(), 3 * MiB, entries), /internal error/)
  const bad: Entries = new Map([[0, { digest: 'abc', storedLength: 50 }]])
  await assert.rejects(write(memoryStore(), 3 * MiB, bad), /internal error/)
  const long: Entries = new Map([[0, { digest: named(0), storedLength: 2 * MiB }]])
  await assert.rejects(write(memoryStore(), 3 * MiB, long), /internal error/)
})

test('manifest writer: pages that cannot be kept on disk are "unavailable"', async () => {
  await using writer = new ManifestWriter({ directory: join(directory, 'missing'), heldPages: 1 })
  await writer.set(0, named(0), 100)
  await assert.rejects(
    writer.set(PAGE_BLOCKS, named(1), 100),
    (error) => error instanceof LibraryError && error.code === 'unavailable',
  )
})

test('manifest: any flipped bit, cut or addition is noticed', async () => {
  const random = createRandom(seed)
  const store = memoryStore()
  const diskSize = 1100 * MiB + 7
  const { digest } = await write(store, diskSize, randomEntries(random, diskSize))
  const bytes = await bytesOf(store, digest)
  await readAll(digest, bytes)
  for (let round = 0; round < 300; round++) {
    const bad = Buffer.from(bytes)
    const limit = random.chance(0.5) ? rootSize(blockCount(diskSize)) : bad.length
    const at = random.below(limit)
    bad[at] = (bad[at] ?? 0) ^ (1 << random.below(8))
    await assert.rejects(readAll(digest, bad), isCorrupt, `seed ${seed} round ${round} byte ${at}`)
  }
  for (const length of [0, 10, HEADER_SIZE, bytes.length - 1])
    await assert.rejects(readAll(digest, bytes.subarray(0, length)), isCorrupt, `${length} bytes`)
  await assert.rejects(readAll(digest, Buffer.concat([bytes, Buffer.alloc(1)])), isCorrupt)
})

test('manifest: one that lies under its right name is corrupt, before anything large is allocated', async () => {
  const store = memoryStore()
  const diskSize = 3 * PAGE_BLOCKS * MiB
  const entries: Entries = new Map([
    [0, { digest: named(0), storedLength: 100 }],
    [1100, { digest: named(1), storedLength: 100 }],
  ])
  const good = await bytesOf(store, (await write(store, diskSize, entries)).digest)
  const root = rootSize(blockCount(diskSize))
  const table = (page: number, field: number) => HEADER_SIZE + page * TABLE_ENTRY_SIZE + 32 + field
  const lies: Record<string, (bytes: Buffer) => void> = {
    magic: (bytes) => bytes.write('qcow', 0),
    version: (bytes) => bytes.writeUInt32LE(2, 8),
    'block size': (bytes) => bytes.writeUInt32LE(4096, 12),
    'a disk of 2^63 bytes': (bytes) => bytes.writeBigUInt64LE(2n ** 63n, 16),
    'a disk of 65 TiB': (bytes) => writeU64(bytes, 16, 65 * TiB),
    'another disk size': (bytes) => writeU64(bytes, 16, diskSize + MiB),
    'block count': (bytes) => writeU64(bytes, 24, 1),
    'more data blocks than blocks': (bytes) => writeU64(bytes, 32, 10 ** 6),
    'data blocks': (bytes) => writeU64(bytes, 32, 3),
    'stored size': (bytes) => writeU64(bytes, 40, 12345),
    'a stored size of 2^64': (bytes) => bytes.fill(255, 40, 48),
    'page size': (bytes) => bytes.writeUInt32LE(511, 48),
    'page count': (bytes) => bytes.writeUInt32LE(2 ** 32 - 1, 52),
    'reserved bytes': (bytes) => bytes.writeUInt32LE(1, 60),
    'sums that go back': (bytes) => writeU64(bytes, table(2, 0), 0),
    'sums that do not begin at 0': (bytes) => writeU64(bytes, table(0, 8), 1),
    'sums that jump': (bytes) => writeU64(bytes, table(1, 8), 10 ** 12),
    'a zero page that stores something': (bytes) => writeU64(bytes, table(2, 8), 10),
    'a data page marked zero': (bytes) => bytes.fill(0, HEADER_SIZE, HEADER_SIZE + 32),
  }
  for (const [name, lie] of Object.entries(lies)) {
    const bytes = Buffer.from(good)
    lie(bytes)
    const digest = hash('sha256', bytes.subarray(0, root), 'hex')
    await assert.rejects(readAll(digest, bytes), isCorrupt, name)
  }
  await assert.rejects(readAll(named(0), good), isCorrupt, 'another name')
})

test('manifest: entries that cannot be are corrupt though every digest is right', async () => {
  const store = memoryStore()
  const diskSize = PAGE_BLOCKS * MiB
  const entries: Entries = new Map([
    [0, { digest: named(0), storedLength: 100 }],
    [1, { digest: named(1), storedLength: 100 }],
  ])
  const good = await bytesOf(store, (await write(store, diskSize, entries)).digest)
  const root = rootSize(blockCount(diskSize))
  const lies: Record<string, (page: Buffer) => void> = {
    'a name without bytes': (page) => page.writeUInt32LE(0, 32),
    'bytes without a name': (page) => page.fill(0, 0, 32),
    'fewer bytes than a block has at rest': (page) => page.writeUInt32LE(8, 32),
    'more bytes than a block has at rest': (page) => page.writeUInt32LE(MiB + 9, 32),
    'another sum': (page) => page.writeUInt32LE(101, 32),
    'a block less': (page) => page.fill(0, 0, 36),
  }
  for (const [name, lie] of Object.entries(lies)) {
    const bytes = Buffer.from(good)
    const page = bytes.subarray(root, root + PAGE_SIZE)
    lie(page)
    bytes.set(hash('sha256', page, 'buffer'), HEADER_SIZE)
    const digest = hash('sha256', bytes.subarray(0, root), 'hex')
    await assert.rejects(readAll(digest, bytes), isCorrupt, name)
  }
})

test('manifest: a page whose read failed is read again', async () => {
  const store = memoryStore()
  const entries: Entries = new Map([[0, { digest: named(0), storedLength: 100 }]])
  const { digest } = await write(store, MiB, entries)
  let failing = false
  const manifests = {
    ...store.manifests,
    open: async () => {
      const file = await store.manifests.open(digest)
      const readAt = (target: Uint8Array, offset: number) =>
        failing ? Promise.reject(new LibraryError('unavailable', 'read')) : file.readAt(target, offset)
      return { ...file, readAt }
    },
  } as typeof store.manifests
  await using manifest = await openManifest(manifests, digest)
  failing = true
  await assert.rejects(manifest.entry(0), /read/)
  failing = false
  assert.equal((await manifest.entry(0))?.digest, named(0))
})

test('manifest: what is not stored is not found, and a refused file is closed', async () => {
  await assert.rejects(
    openManifest(memoryStore().manifests, named(0)),
    (error) => error instanceof LibraryError && error.code === 'not_found',
  )
  const store = memoryStore()
  let closed = 0
  const manifests = {
    open: async () => ({
      size: 3,
      readAt: async () => 0,
      [Symbol.asyncDispose]: async () => {
        closed++
      },
    }),
  } as unknown as typeof store.manifests
  await assert.rejects(openManifest(manifests, named(0)), isCorrupt)
  assert.equal(closed, 1)
})
