import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { type BlockLoader, directLoader } from '#data/form/disk-blocks.ts'
import { memoryStore } from '#data/store/memory.ts'
import type { Store } from '#data/store/store.ts'
import { plainBytes, randomDisk, storeDisk, type TestDisk } from '../../../test/support/store-disk.ts'
import { BlockCache } from './block-cache.ts'
import { openTemporary, signal } from './content.fixtures.ts'
import { type ExportedDisk, openExportedDisk } from './exported-disk.ts'

async function bytesOf(disk: ExportedDisk, offset: number, length: number, until = signal): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of disk.read(offset, length, until)) {
    assert.ok(part.length > 0 && part.length <= BLOCK_SIZE)
    parts.push(Buffer.from(part))
  }
  return Buffer.concat(parts)
}

/** A disk whose loads are counted, and done by `change`. */
async function openCounting(
  disk: TestDisk,
  change: (plain: BlockLoader['plain']) => BlockLoader['plain'] = (plain) => plain,
  options: { idle?: number; patienceMs?: number } = {},
) {
  const store: Store = memoryStore()
  const manifest = await storeDisk(store, disk)
  const loader = directLoader(store.blocks)
  const plain = change((block, until) => loader.plain(block, until))
  const loads: string[] = []
  const counting: BlockLoader = {
    ...loader,
    plain: (block, until) => {
      loads.push(block.digest)
      return plain(block, until)
    },
  }
  const { patienceMs = 0, ...more } = options
  const cache = new BlockCache({ loader: counting, patienceMs, ...more })
  return {
    cache,
    loads,
    disk: await openExportedDisk({ manifests: store.manifests, cache, patienceMs }, manifest),
  }
}

const noise = (blocks: number): TestDisk => randomDisk(7, blocks * BLOCK_SIZE, 0)

test('exported disk: any range reads as the disk, from many sides', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  t.diagnostic(`seed ${seed}`)
  const random = createRandom(seed)
  const source = randomDisk(seed, 9 * BLOCK_SIZE + 512 * 5)
  const plain = plainBytes(source)
  const { contents, store } = await openTemporary(t)
  await using disk = await contents.openDisk(await storeDisk(store, source))
  assert.equal(disk.size, plain.length)
  const reads = Array.from({ length: 60 }, async () => {
    const offset = random.below(plain.length)
    const length = 1 + random.below(Math.min(3 * BLOCK_SIZE, plain.length - offset))
    const got = await bytesOf(disk, offset, length)
    assert.ok(got.equals(plain.subarray(offset, offset + length)), `${offset}+${length}`)
  })
  await Promise.all(reads)
})

test('exported disk: status tells zero blocks, cut and counted as asked', async (t) => {
  const block = new Uint8Array(BLOCK_SIZE).fill(1)
  const size = 1500 * BLOCK_SIZE
  const { disk } = await openCounting({
    size,
    block: (index) => (index < 2 || index === 1400 ? block : undefined),
  })
  t.after(() => disk[Symbol.asyncDispose]())
  const MiB = BLOCK_SIZE
  const all = [
    { length: 2 * MiB, isZero: false },
    { length: 1398 * MiB, isZero: true },
    { length: MiB, isZero: false },
    { length: 99 * MiB, isZero: true },
  ]
  assert.deepEqual(await disk.status(0, size, 10, signal), all)
  assert.deepEqual(await disk.status(0, size, 2, signal), all.slice(0, 2))
  assert.deepEqual(await disk.status(2 * MiB - 5, 10, 9, signal), [
    { length: 5, isZero: false },
    { length: 5, isZero: true },
  ])
})

test('exported disk: a block is loaded once for all its small reads, and those in order before they come', async () => {
  const { disk, loads } = await openCounting(noise(8))
  await Promise.all([1, 2, 3].map((n) => bytesOf(disk, 5 * BLOCK_SIZE + n, 4096)))
  assert.equal(loads.length, 1)
  for (let at = 0; at < BLOCK_SIZE; at += BLOCK_SIZE / 4) await bytesOf(disk, at, BLOCK_SIZE / 4)
  assert.equal(new Set(loads).size, loads.length)
  assert.ok(loads.length > 2 && loads.length <= 5, `${loads.length} loads`)
})

test('exported disk: what is unavailable for a moment is waited for, what stays so is told', async () => {
  let failures = 2
  const failing = (plain: BlockLoader['plain']): BlockLoader['plain'] => {
    return async (block, until) => {
      if (failures-- > 0) throw new LibraryError('unavailable', 'read block: the storage answers EIO')
      return plain(block, until)
    }
  }
  const source = noise(1)
  const { disk } = await openCounting(source, failing, { patienceMs: 1000 })
  assert.ok((await bytesOf(disk, 0, 10)).equals(plainBytes(source).subarray(0, 10)))

  failures = Number.POSITIVE_INFINITY
  const { disk: other } = await openCounting(source, failing, { patienceMs: 200 })
  await assert.rejects(bytesOf(other, 0, 10), { code: 'unavailable' })
  failures = 0
  assert.equal((await bytesOf(other, 0, 10)).length, 10)
})

test('exported disk: damaged blocks are named and not waited for', async () => {
  const damaged = () => async () => {
    throw new LibraryError('corrupt', 'its bytes have another digest')
  }
  const { disk, loads } = await openCounting(noise(1), damaged, { patienceMs: 60_000 })
  await assert.rejects(bytesOf(disk, 0, 10), /read block [0-9a-f]{64}: its bytes have another digest/)
  assert.equal(loads.length, 1)
})

test('exported disk: a reader who leaves waits no longer, and others get the block', async () => {
  const gate = Promise.withResolvers<void>()
  const slow = (plain: BlockLoader['plain']): BlockLoader['plain'] => {
    return async (block, until) => {
      await gate.promise
      return plain(block, until)
    }
  }
  const { disk, loads } = await openCounting(noise(1), slow)
  const leaving = new AbortController()
  const left = bytesOf(disk, 0, 10, leaving.signal)
  const stays = bytesOf(disk, 0, 10)
  leaving.abort(new Error('gone'))
  await assert.rejects(left, /gone/)
  gate.resolve()
  assert.equal((await stays).length, 10)
  assert.equal(loads.length, 1)
})

test('block cache: rooms come back, but for the few that are kept, and all of them where no disk is open', async () => {
  let lent = 0
  const lending = (plain: BlockLoader['plain']): BlockLoader['plain'] => {
    return async (block, until) => {
      const bytes = (await plain(block, until)) as Uint8Array
      lent++
      return { bytes, [Symbol.dispose]: () => void lent-- }
    }
  }
  const { disk, cache } = await openCounting(noise(12), lending, { idle: 3 })
  for (let index = 11; index >= 0; index--) await bytesOf(disk, index * BLOCK_SIZE + 5, 10)
  // What is dropped is let go of in a moment.
  await Promise.resolve()
  assert.ok(lent <= 3, `${lent} are lent`)
  const reading = disk.read(0, 10, signal)[Symbol.asyncIterator]()
  await reading.next()
  await disk[Symbol.asyncDispose]()
  assert.equal(lent, 1)
  await reading.return?.()
  await Promise.resolve()
  assert.equal(lent, 0)
  cache[Symbol.dispose]()
  await assert.rejects(bytesOf(disk, 0, 10), { code: 'unavailable' })
})
