import assert from 'node:assert/strict'
import { createHash, randomInt } from 'node:crypto'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { MiB } from '#base/bytes.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { collect } from '#data/disk/collect.ts'
import { isError } from '#data/store/contract.ts'
import type { StoredNames } from '#data/store/store.ts'
import { exampleBytes, md5Of, openTemporary, read, signal, wholeOf, write } from './content.fixtures.ts'
import { INLINE_MAX } from './content.ts'

const SIZES = [
  0,
  1,
  511,
  INLINE_MAX - 1,
  INLINE_MAX,
  INLINE_MAX + 1,
  MiB - 1,
  MiB,
  MiB + 1,
  5 * MiB,
  5 * MiB + 7,
]

test('content writer: what is written comes back, with its size and MD5, whatever its length', async (t) => {
  const { contents, kept } = await openTemporary(t)
  const bytes = exampleBytes(6 * MiB)
  for (const size of SIZES) {
    for (const chunkLength of [777_777, 64 * 1024]) {
      const plain = bytes.subarray(0, size)
      const written = await write(contents, plain, chunkLength)
      assert.equal(written.size, size)
      assert.equal(written.md5, md5Of(plain))
      assert.equal(written.content.kind, size <= INLINE_MAX ? 'inline' : 'manifest')
      assert.ok((await read(contents, [wholeOf(written.content)])).equals(plain), `${size} bytes`)
    }
  }
  assert.equal(kept.begun, SIZES.filter((size) => size > INLINE_MAX).length * 2)
  assert.equal(kept.ended, kept.begun)
})

test('content writer: a few bytes take no file', async (t) => {
  const { contents, kept, countBlocks, store } = await openTemporary(t)
  await write(contents, exampleBytes(INLINE_MAX), 1)
  assert.equal(await countBlocks(), 0)
  assert.deepEqual(await Array.fromAsync(store.manifests.list()), [])
  assert.equal(kept.begun, 0)
})

test('content writer: equal blocks are stored once, zeros never', async (t) => {
  const { contents, countBlocks } = await openTemporary(t)
  const bytes = Buffer.concat([
    exampleBytes(MiB),
    Buffer.alloc(3 * MiB),
    exampleBytes(MiB),
    exampleBytes(9, 2),
  ])
  const [first, second] = await Promise.all([write(contents, bytes), write(contents, bytes, 1234567)])
  assert.deepEqual(first, second)
  assert.equal(await countBlocks(), 2)
  const zeros = await write(contents, Buffer.alloc(2 * MiB))
  assert.equal(await countBlocks(), 2)
  assert.equal(zeros.md5, md5Of(Buffer.alloc(2 * MiB)))
})

test('content writer: one that is left unfinished leaves nothing that counts', async (t) => {
  const { contents, store, kept, spoolDirectory, countBlocks } = await openTemporary(t, { slots: 8 })
  for (let round = 0; round < 20; round++) {
    await using writer = contents.openWriter({ signal })
    await writer.write(exampleBytes(2 * MiB + 1000, round + 1))
  }
  assert.equal(kept.ended, 20)
  assert.deepEqual(await Array.fromAsync(store.manifests.list()), [])
  assert.deepEqual(await readdir(spoolDirectory), [])
  // Every slot came back, or this would wait for ever.
  const bytes = exampleBytes(12 * MiB, 99)
  const { content } = await write(contents, bytes)
  assert.ok((await read(contents, [wholeOf(content)])).equals(bytes))
  assert.ok(content.kind === 'manifest')
  const root = content.manifest
  async function* roots() {
    yield root
  }
  await collect({ store, unclaimedSince: Date.now() + 60_000, roots, signal })
  assert.equal(await countBlocks(), 12)
})

test('content writer: an abort ends writing and finishing with its reason', async (t) => {
  const { contents } = await openTemporary(t)
  const controller = new AbortController()
  await using writer = contents.openWriter({ signal: controller.signal })
  await writer.write(exampleBytes(MiB + 5))
  const writing = writer.write(exampleBytes(40 * MiB, 2))
  controller.abort(new Error('gone'))
  await assert.rejects(writing, /gone/)
  await assert.rejects(writer.write(Buffer.alloc(1)), /gone/)
  await assert.rejects(writer.finish(), /gone/)
})

test('content writer: a full disk is told to whoever writes, and the next writer goes on', async (t) => {
  const { contents } = await openTemporary(t, { reserve: 2 ** 60 })
  for (let round = 0; round < 3; round++) {
    await using writer = contents.openWriter({ signal })
    await assert.rejects(async () => {
      await writer.write(exampleBytes(9 * MiB))
      await writer.finish()
    }, isError('unavailable'))
  }
  await write(contents, Buffer.alloc(9 * MiB))
})

test('content writer: a store that cannot be written to is told too', async (t) => {
  const { contents, storePlace } = await openTemporary(t)
  await write(contents, exampleBytes(MiB))
  await rm(join(storePlace, 'temporary'), { recursive: true })
  await writeFile(join(storePlace, 'temporary'), '')
  await assert.rejects(write(contents, exampleBytes(3 * MiB, 5)), isError('unavailable'))
})

test('content writer: where nothing can be kept from collection, nothing is stored', async (t) => {
  const { contents, countBlocks } = await openTemporary(t, {
    keep: () => Promise.reject(new Error('no catalog')),
  })
  await assert.rejects(write(contents, exampleBytes(3 * MiB)), /no catalog/)
  assert.equal(await countBlocks(), 0)
})

test('content writer: a thread that dies fails what it was at, and another takes its place', async (t) => {
  const workers: Worker[] = []
  const onWorker = (worker: Worker) => void workers.push(worker)
  process.on('worker', onWorker)
  t.after(() => process.off('worker', onWorker))
  const { contents } = await openTemporary(t, { threads: 1 })
  const bytes = exampleBytes(3 * MiB)
  await using writer = contents.openWriter({ signal })
  await writer.write(bytes)
  await workers[0]?.terminate()
  // The MD5 was that thread's, even where all blocks were stored before.
  await assert.rejects(async () => {
    await writer.write(bytes)
    await writer.finish()
  }, isError('unavailable'))
  const again = await write(contents, bytes)
  assert.equal(again.md5, md5Of(bytes))
  assert.equal(workers.length, 2)
})

test('content store: many slow and quick transfers go on at once in few slots', async (t) => {
  const seed = randomInt(2 ** 31)
  const { contents } = await openTemporary(t, { slots: 8 })
  const bytes = exampleBytes(4 * MiB + 123, seed)
  const { content } = await write(contents, bytes)
  // Each holds a block, and none goes on: more than there are slots.
  const stopped = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const writer = contents.openWriter({ signal })
      await writer.write(exampleBytes(MiB + 99_999, index))
      const reader = await contents.openReader([wholeOf(content)])
      const reading = reader.read(0, bytes.length, signal)
      await reading.next()
      return { writer, reader, reading }
    }),
  )
  await Promise.all(
    Array.from({ length: 24 }, async (_, index) => {
      const random = createRandom(seed + index)
      const mine = exampleBytes(random.below(5 * MiB), seed + index)
      // Each copies by reading while it writes, as a server-side copy through a writer does.
      const source = await write(contents, mine, 1 + random.below(300_000))
      await using reader = await contents.openReader([wholeOf(source.content)])
      await using writer = contents.openWriter({ signal })
      for await (const chunk of reader.read(0, mine.length, signal)) await writer.write(chunk)
      const copy = await writer.finish()
      assert.equal(copy.md5, md5Of(mine), `seed ${seed}`)
    }),
  )
  for (const [index, { writer, reader, reading }] of stopped.entries()) {
    const expected = createHash('md5')
      .update(exampleBytes(MiB + 99_999, index))
      .digest('hex')
    assert.equal((await writer.finish()).md5, expected, `seed ${seed}`)
    await writer[Symbol.asyncDispose]()
    await reading.return(undefined)
    await reader[Symbol.asyncDispose]()
  }
})

test('content store: once it is closed nothing begins', async (t) => {
  const { contents } = await openTemporary(t)
  await write(contents, exampleBytes(MiB))
  await contents[Symbol.asyncDispose]()
  await assert.rejects(write(contents, exampleBytes(MiB, 2)), isError('unavailable'))
})

test('content writer: what it is finished with is on stable storage, however many blocks it has', async (t) => {
  const { store } = await openTemporary(t)
  for (const blocks of [1, 40]) {
    const synced: (StoredNames | undefined)[] = []
    const sync: typeof store.sync = async (only) => {
      await store.sync(only)
      synced.push(only)
    }
    const { contents } = await openTemporary(t, { store: { ...store, sync } })
    const { content } = await write(contents, exampleBytes(blocks * MiB))
    assert.equal(synced.length, 1, `${blocks} blocks`)
    if (content.kind === 'manifest' && blocks === 1)
      assert.deepEqual(synced[0]?.manifests, [content.manifest])
  }
})
