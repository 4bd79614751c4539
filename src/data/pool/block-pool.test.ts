import assert from 'node:assert/strict'
import { createHash, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { BLOCK_SIZE, decodeStored, digestOf } from '#data/block/block.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { isError } from '#data/store/contract.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { type BlockPool, type BlockPoolOptions, createBlockPool, type Room } from './block-pool.ts'

const { signal } = new AbortController()

async function openTemporary(t: TestContext, options: Partial<BlockPoolOptions> = {}) {
  const storePlace = await mkdtemp(join(tmpdir(), 'pool-'))
  const workers: Worker[] = []
  const onWorker = (worker: Worker) => void workers.push(worker)
  process.on('worker', onWorker)
  const pool = createBlockPool({ storePlace, threads: 2, reserve: undefined, ...options })
  t.after(async () => {
    process.off('worker', onWorker)
    await pool[Symbol.asyncDispose]()
    await rm(storePlace, { recursive: true })
  })
  return { pool, workers, store: await openFilesystemStore(storePlace) }
}

function fill(pool: BlockPool, bytes: Uint8Array): { room: Room; length: number } {
  const room = pool.room()
  room.bytes.set(bytes)
  return { room, length: bytes.length }
}

test('block pool: a block is stored once and loads as it was, plain and at rest', async (t) => {
  const { pool, store } = await openTemporary(t)
  for (const length of [1, 5, 4096, BLOCK_SIZE - 1, BLOCK_SIZE]) {
    const plain = Buffer.alloc(length, `length ${length} `)
    const bytes = fill(pool, plain)
    const kept = await pool.store(bytes, { signal })
    assert.ok(kept)
    const { storedLength, digest } = kept
    assert.deepEqual(kept, { digest: digestOf(plain), storedLength, length, known: false })
    assert.deepEqual(await pool.store(bytes, { signal }), { ...kept, known: true })
    bytes.room[Symbol.dispose]()
    using loaded = await pool.load(kept, 'plain', signal)
    assert.ok(loaded.bytes.subarray(0, length).equals(plain))
    using atRest = await pool.load(kept, 'stored', signal)
    const stored = atRest.bytes.subarray(0, storedLength)
    assert.ok(stored.equals(await store.blocks.get(digest)))
    assert.ok(plain.equals(decodeStored(stored, length)))
  }
})

test('block pool: zeros are not stored, but summed', async (t) => {
  const { pool, store } = await openTemporary(t)
  using md5 = pool.startMd5()
  const zeros = Buffer.alloc(BLOCK_SIZE)
  assert.equal(await pool.store(fill(pool, zeros), { signal, md5 }), undefined)
  assert.deepEqual(await Array.fromAsync(store.blocks.list()), [])
  assert.equal(await md5.digest(), createHash('md5').update(zeros).digest('hex'))
})

test('block pool: what is wrong about a block is told, and its slot comes back', async (t) => {
  const { pool, store } = await openTemporary(t, { slots: 4 })
  const plain = Buffer.alloc(BLOCK_SIZE, 'some text ')
  const kept = await pool.store(fill(pool, plain), { signal })
  assert.ok(kept)
  const other = await pool.store(fill(pool, Buffer.alloc(BLOCK_SIZE, 'other text')), { signal })
  assert.ok(other)
  const bytes = await store.blocks.get(other.digest)
  const name = digestOf(Buffer.from('a third'))
  await store.blocks.put(name, bytes)
  for (let round = 0; round < 6; round++) {
    for (const as of ['plain', 'stored'] as const) {
      const load = (change: object) => pool.load({ ...kept, ...change }, as, signal)
      await assert.rejects(load({ digest: 'ab'.repeat(32) }), isError('not_found'))
      await assert.rejects(load({ storedLength: kept.storedLength - 1 }), isError('corrupt'))
      await assert.rejects(load({ length: 100 }), isError('corrupt'))
    }
    const { storedLength, length } = other
    await assert.rejects(
      pool.load({ digest: name, storedLength, length }, 'plain', signal),
      isError('corrupt'),
    )
  }
})

test('block pool: an MD5 takes blocks in the order in which they were given', async (t) => {
  const seed = randomInt(2 ** 31)
  const random = createRandom(seed)
  const { pool } = await openTemporary(t, { slots: 6 })
  const streams = Array.from({ length: 4 }, () => ({ md5: pool.startMd5(), expected: createHash('md5') }))
  const storing: Promise<unknown>[] = []
  for (let count = 0; count < 60; count++) {
    const stream = streams[random.below(streams.length)]
    const bytes = Buffer.alloc(1 + random.below(BLOCK_SIZE), `${seed} ${count} `)
    stream?.expected.update(bytes)
    const given = fill(pool, bytes)
    const done = random.chance(0.2)
      ? stream && pool.sum(given, stream.md5, signal)
      : pool.store(given, { signal, ...(stream && { md5: stream.md5 }) })
    storing.push(Promise.resolve(done).finally(() => given.room[Symbol.dispose]()))
  }
  await Promise.all(storing)
  for (const { md5, expected } of streams) {
    assert.equal(await md5.digest(), expected.copy().digest('hex'), `seed ${seed}`)
    using fork = md5.fork()
    const more = fill(pool, Buffer.from('more'))
    await pool.sum(more, fork, signal)
    more.room[Symbol.dispose]()
    assert.equal(await fork.digest(), expected.copy().update('more').digest('hex'))
    assert.equal(await md5.digest(), expected.digest('hex'))
    md5[Symbol.dispose]()
  }
})

test('block pool: threads start as they are needed, and dead ones are replaced', async (t) => {
  const { pool, workers } = await openTemporary(t)
  using md5 = pool.startMd5()
  assert.equal(workers.length, 0)
  const bytes = fill(pool, Buffer.from('some bytes'))
  await pool.store(bytes, { signal })
  await pool.store(bytes, { signal })
  assert.equal(workers.length, 1)
  await pool.sum(bytes, md5, signal)
  await workers[0]?.terminate()
  await assert.rejects(md5.digest(), isError('unavailable'))
  await assert.rejects(pool.sum(bytes, md5, signal), isError('unavailable'))
  using fresh = pool.startMd5()
  await Promise.all([pool.store(bytes, { signal, md5: fresh }), pool.store(bytes, { signal })])
  assert.equal(await fresh.digest(), createHash('md5').update('some bytes').digest('hex'))
  assert.ok(workers.length <= 3)
})

test('block pool: it tells what its threads ask the store for, and which of them died', async (t) => {
  const calls: string[] = []
  let deaths = 0
  const { pool, workers } = await openTemporary(t, {
    onStoreTimes: (times) =>
      calls.push(...times.map(({ operation, outcome, bytes }) => `${operation} ${outcome} ${bytes > 0}`)),
    onDeath: () => deaths++,
  })
  const bytes = fill(pool, Buffer.from('some bytes'))
  const kept = await pool.store(bytes, { signal })
  assert.deepEqual(calls.splice(0), ['block_claim missing false', 'block_put done true'])
  await pool.store(bytes, { signal })
  assert.deepEqual(calls.splice(0), ['block_claim done true', 'block_read done true'])
  assert.ok(kept)
  using _loaded = await pool.load(kept, 'plain', signal)
  assert.deepEqual(calls, ['block_read done true'])
  await workers[0]?.terminate()
  assert.equal(deaths, 1)
  await pool[Symbol.asyncDispose]()
  assert.equal(deaths, 1, 'the end of a pool is no death')
})

test('block pool: a thread that dies at work fails that work', async (t) => {
  const { pool } = await openTemporary(t, { threads: 1 })
  const bytes = fill(pool, Buffer.alloc(BLOCK_SIZE, 'work'))
  const started = once(process, 'worker') as Promise<[Worker]>
  const storing = [1, 2, 3].map(() => pool.store(bytes, { signal }))
  const rejected = storing.map((result) => assert.rejects(result, isError('unavailable')))
  await (await started)[0].terminate()
  await Promise.all(rejected)
  assert.ok(await pool.store(bytes, { signal }))
})

test('block pool: where all slots are lent, rooms lie elsewhere and hold as much', async (t) => {
  const { pool } = await openTemporary(t, { slots: 4 })
  const plains = Array.from({ length: 12 }, (_, index) => Buffer.alloc(BLOCK_SIZE, `room ${index} `))
  const rooms = plains.map((plain) => fill(pool, plain))
  assert.equal(rooms.filter(({ room }) => room.address !== undefined).length, 3)
  const kept = await Promise.all(rooms.map((bytes) => pool.store(bytes, { signal })))
  assert.deepEqual(
    kept.map((block) => block?.digest),
    plains.map(digestOf),
  )
  const loaded = await Promise.all(kept.map((block) => block && pool.load(block, 'plain', signal)))
  for (const [index, room] of loaded.entries())
    assert.ok(room?.bytes.subarray(0, BLOCK_SIZE).equals(plains[index] as Buffer))
  for (const { room } of rooms) {
    room[Symbol.dispose]()
    room[Symbol.dispose]()
  }
  assert.equal(rooms.map(() => pool.room()).filter(({ address }) => address !== undefined).length, 3)
})

test('block pool: whoever waits for a slot may leave', async (t) => {
  const { pool } = await openTemporary(t, { slots: 1 })
  const bytes = fill(pool, Buffer.alloc(BLOCK_SIZE, 'wait '))
  assert.equal(bytes.room.address, undefined)
  const controller = new AbortController()
  const first = pool.store(bytes, { signal })
  const second = pool.store(bytes, { signal: controller.signal })
  const third = pool.store(bytes, { signal })
  controller.abort(new Error('gone'))
  await assert.rejects(second, /gone/)
  await assert.rejects(pool.store(bytes, { signal: controller.signal }), /gone/)
  assert.deepEqual((await first)?.digest, (await third)?.digest)
})

test('block pool: its end ends all that waits and works', async (t) => {
  const { pool } = await openTemporary(t, { slots: 1 })
  const bytes = fill(pool, Buffer.alloc(BLOCK_SIZE, 'end '))
  const storing = [1, 2, 3].map(() => pool.store(bytes, { signal }))
  await pool[Symbol.asyncDispose]()
  for (const result of storing) await assert.rejects(result, isError('unavailable'))
  await assert.rejects(pool.store(bytes, { signal }), isError('unavailable'))
})
