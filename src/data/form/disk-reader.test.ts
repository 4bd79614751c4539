import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { KiB, MiB, TiB } from '#base/bytes.ts'
import { digestOf } from '#data/block/block.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { memoryStore } from '#data/store/memory.ts'
import { encode, plainBytes, randomDisk, storeDisk, withGet } from '../../../test/support/store-disk.ts'
import { openDisk } from './disk-reader.ts'
import { openForm } from './form.ts'

const seed = randomInt(2 ** 31)
const signal = new AbortController().signal
const random = createRandom(seed)
const isCorrupt = { code: 'corrupt' }

test('disk reader: any range is the slice of the disk, read or streamed', async () => {
  const store = memoryStore()
  const disk = randomDisk(seed, 6 * MiB + 512)
  const plain = plainBytes(disk)
  await using reader = await openDisk(store, await storeDisk(store, disk))
  assert.equal(reader.size, disk.size)
  for (let round = 0; round < 80; round++) {
    const offset = random.below(disk.size)
    const length = random.below(Math.min(disk.size - offset, random.chance(0.7) ? 9000 : disk.size) + 1)
    const expected = plain.subarray(offset, offset + length)
    assert.ok(expected.equals(await reader.read(offset, length, signal)), `seed ${seed}`)
    const parts = await Array.fromAsync(reader.stream(offset, length, signal))
    assert.ok(expected.equals(Buffer.concat(parts)), `seed ${seed}`)
    assert.ok(parts.every((part) => part.length > 0 && part.length <= MiB))
  }
  for (const [offset, length] of [
    [0, disk.size + 1],
    [-1, 1],
    [disk.size, 1],
  ] as const) {
    await assert.rejects(reader.read(offset, length, signal), /internal error/)
    await assert.rejects(Array.fromAsync(reader.stream(offset, length, signal)), /internal error/)
  }
})

test('disk reader: zero blocks are never asked of the store and share one array', async () => {
  const store = memoryStore()
  const digest = await storeDisk(store, { size: TiB, block: () => undefined })
  await using reader = await openDisk(
    withGet(store, () => assert.fail('asked')),
    digest,
  )
  const one = await reader.read(5 * MiB, MiB, signal)
  const other = await reader.read(TiB - MiB, MiB, signal)
  assert.equal(one.buffer, other.buffer)
  assert.ok(one.every((byte) => byte === 0))
})

test('disk reader: many small reads of a block, also at once, get it from the store once', async () => {
  const store = memoryStore()
  const disk = randomDisk(seed, 3 * MiB, 0)
  const digest = await storeDisk(store, disk)
  let gets = 0
  const counting = withGet(store, (each) => {
    gets++
    return store.blocks.get(each)
  })
  await using reader = await openDisk(counting, digest)
  await Promise.all(Array.from({ length: 256 }, (_, index) => reader.read(index * 4 * KiB, 4 * KiB, signal)))
  assert.equal(gets, 1)
  await reader.read(MiB - 5, 10, signal)
  assert.equal(gets, 2)
})

test('disk reader: a fault of the store is told, not kept', async () => {
  const store = memoryStore()
  const disk = randomDisk(seed, MiB, 0)
  const digest = await storeDisk(store, disk)
  let fails = true
  const failing = withGet(store, async (each) => {
    if (fails) throw new Error('no store today')
    return store.blocks.get(each)
  })
  await using reader = await openDisk(failing, digest)
  await assert.rejects(reader.read(0, 10, signal), /no store today/)
  fails = false
  assert.ok(
    plainBytes(disk)
      .subarray(0, 10)
      .equals(await reader.read(0, 10, signal)),
  )
})

test('disk reader: the next block is asked for while one is handed out', async () => {
  const store = memoryStore()
  const asked: string[] = []
  const digest = await storeDisk(store, randomDisk(seed, 4 * MiB, 0))
  const counting = withGet(store, (each) => {
    asked.push(each)
    return store.blocks.get(each)
  })
  await using reader = await openDisk(counting, digest)
  const stream = reader.stream(0, 4 * MiB, signal)
  await stream.next()
  assert.equal(asked.length, 2)
  await stream.return(undefined)
})

test('disk reader: an abort ends a wait for the store', async () => {
  const store = memoryStore()
  const digest = await storeDisk(store, randomDisk(seed, 2 * MiB, 0))
  const hanging = withGet(store, () => new Promise(() => undefined))
  await using reader = await openDisk(hanging, digest)
  const controller = new AbortController()
  const reads = [
    reader.read(0, 10, controller.signal),
    Array.fromAsync(reader.stream(0, MiB, controller.signal)),
  ]
  controller.abort(new Error('gone'))
  for (const read of reads) await assert.rejects(read, /gone/)
})

/** One way to spoil the block of a disk that has only one. */
type Spoil = (stored: Uint8Array) => Uint8Array | Promise<never>

async function assertRefused(spoil: Spoil, expected: object, kinds = ['raw', 'lz4', 'qcow2'] as const) {
  const store = memoryStore()
  const digest = await storeDisk(store, randomDisk(seed, MiB, 0))
  const spoiled = withGet(store, async (each) => spoil(await store.blocks.get(each)))
  for (const kind of kinds) {
    await using form = await openForm(spoiled, digest, kind)
    await assert.rejects(Array.fromAsync(form.read(0, form.size, signal)), expected, `${kind}, seed ${seed}`)
  }
  await using reader = await openDisk(spoiled, digest)
  await assert.rejects(reader.read(100, 1, signal), expected)
}

test('forms: another block of the same length at rest is never read as the right one', async () => {
  const store = memoryStore()
  const plain = random.bytes(MiB)
  const digest = await storeDisk(store, { size: MiB, block: () => plain })
  const wrong = encode(random.bytes(MiB))
  const spoiled = withGet(store, async () => wrong)
  assert.equal((await store.blocks.get(digestOf(plain))).length, wrong.length)
  for (const kind of ['raw', 'qcow2'] as const) {
    await using form = await openForm(spoiled, digest, kind)
    await assert.rejects(Array.fromAsync(form.read(0, form.size, signal)), isCorrupt)
  }
})

test('forms: a block that is cut, longer, or of another length than its manifest says is corrupt', async () => {
  await assertRefused((stored) => stored.subarray(0, -1), isCorrupt)
  await assertRefused((stored) => Buffer.concat([stored, Buffer.alloc(1)]), isCorrupt)
  await assertRefused(() => encode(new Uint8Array(MiB)), isCorrupt)
  await assertRefused(() => new Uint8Array(0), isCorrupt)
})

test('forms: a flipped bit anywhere in a block at rest never gives other bytes', async () => {
  const store = memoryStore()
  const disk = randomDisk(seed, MiB, 0)
  const digest = await storeDisk(store, disk)
  for (let round = 0; round < 12; round++) {
    const at = round < 4 ? round : undefined
    const bit = 1 << (at === undefined ? random.below(8) : 7)
    const place = random.below(2 ** 31)
    const spoiled = withGet(store, async (each) => {
      const bytes = Uint8Array.from(await store.blocks.get(each))
      const index = at ?? place % (bytes.length - 4)
      bytes[index] = (bytes[index] ?? 0) ^ bit
      return bytes
    })
    await using frame = await openForm(spoiled, digest, 'lz4')
    await assert.rejects(Array.fromAsync(frame.read(0, frame.size, signal)), isCorrupt, `seed ${seed}`)
    // Another match of the same letters decodes to the same bytes, and these are right.
    await using raw = await openForm(spoiled, digest, 'raw')
    const read = await Array.fromAsync(raw.read(0, raw.size, signal)).catch((error: unknown) => error)
    if (Array.isArray(read)) assert.ok(plainBytes(disk).equals(Buffer.concat(read)), `seed ${seed}`)
    else assert.equal((read as { code?: unknown }).code, isCorrupt.code, `seed ${seed}`)
  }
})
