import assert from 'node:assert/strict'
import { createHash, randomInt } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import type { Content } from '#base/content.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import type { BlockPool } from '#data/pool/block-pool.ts'
import type { RunningMd5 } from '#data/pool/running-md5.ts'
import { isError } from '#data/store/contract.ts'
import { exampleBytes, md5Of, openTemporary, read, signal, wholeOf, write } from './content.fixtures.ts'
import { type ContentEditor, INLINE_MAX } from './content.ts'
import type { OpenContentStore } from './create-content-store.ts'
import { OrderedSum } from './ordered-sum.ts'

/** Finishes, and compares what comes of it with what was expected. */
async function assertFinished(
  contents: OpenContentStore,
  editor: ContentEditor,
  expected: Buffer,
  where = '',
) {
  assert.equal(editor.size, expected.length, where)
  const { content, size, md5 } = await editor.finish()
  assert.equal(size, expected.length, where)
  assert.equal(md5, md5Of(expected), where)
  assert.equal(content.kind, size <= INLINE_MAX ? 'inline' : 'manifest')
  assert.ok((await read(contents, [wholeOf(content)])).equals(expected), where)
  return content
}

/** The file that the editor's calls are compared with. */
class Model {
  bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = Buffer.from(bytes)
  }

  write(offset: number, chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.truncate(Math.max(this.bytes.length, offset + chunk.length))
    this.bytes.set(chunk, offset)
  }

  truncate(size: number): void {
    const grown = Buffer.alloc(size)
    this.bytes.copy(grown)
    this.bytes = grown
  }

  read(offset: number, length: number): Buffer {
    return this.bytes.subarray(offset, offset + length)
  }
}

async function compareAtRandom(t: TestContext, seed: number, slots: number): Promise<void> {
  const random = createRandom(seed)
  const { contents, kept } = await openTemporary(t, { slots })
  const limit = random.chance(0.3) ? 40_000 : 7 * MiB
  const start = exampleBytes(random.below(limit), seed)
  let base: Content | undefined = random.chance(0.3) ? undefined : (await write(contents, start)).content
  const model = new Model(base ? start : Buffer.alloc(0))
  for (let round = 0; round < 3; round++) {
    const where = `seed ${seed} round ${round}`
    await using editor = await contents.openEditor(base, { signal })
    const calls: Promise<void>[] = []
    for (let count = random.below(40); count > 0; count--) {
      const offset = random.below(random.chance(0.8) ? model.bytes.length + 1 : limit)
      const length = random.below(random.chance(0.2) ? 2 * MiB + MiB / 2 : 30_000)
      if (random.chance(0.1)) {
        const size = random.below(limit)
        calls.push(editor.truncate(size))
        model.truncate(size)
      } else if (random.chance(0.3)) {
        const expected = Buffer.from(model.read(offset, length))
        const reading = editor.read(offset, length)
        calls.push(reading.then((got) => assert.ok(expected.equals(got), `${where}: ${offset}+${length}`)))
      } else {
        const chunk = random.chance(0.2) ? Buffer.alloc(length) : exampleBytes(length, random.below(2 ** 30))
        calls.push(editor.write(offset, chunk))
        model.write(offset, chunk)
      }
      if (random.chance(0.2)) await Promise.all(calls)
      if (random.chance(0.05)) {
        await Promise.all(calls)
        await assertFinished(contents, editor, model.bytes, where)
      }
    }
    await Promise.all(calls)
    base = await assertFinished(contents, editor, model.bytes, where)
  }
  assert.equal(kept.ended, kept.begun)
}

const SEED = randomInt(2 ** 31)
for (let run = 0; run < 12; run++) {
  const slots = run % 3 === 0 ? 4 : 64
  test(`content editor: random calls do what they do to a file (seed ${SEED + run})`, (t) =>
    compareAtRandom(t, SEED + run, slots))
}

test('content editor: writes in order, many at a time, are hashed on the way', async (t) => {
  const { contents, countBlocks } = await openTemporary(t)
  const plain = exampleBytes(9 * MiB + 5000)
  await using editor = await contents.openEditor(undefined, { signal })
  const calls: Promise<void>[] = []
  for (let at = 0; at < plain.length; at += 32_768)
    calls.push(editor.write(at, plain.subarray(at, at + 32_768)))
  await Promise.all(calls)
  await assertFinished(contents, editor, plain)
  assert.equal(await countBlocks(), 10)
})

test('content editor: a few bytes never become a file', async (t) => {
  const { contents, countBlocks, kept } = await openTemporary(t)
  await using editor = await contents.openEditor(undefined, { signal })
  await editor.write(5, Buffer.from('later'))
  await editor.write(0, Buffer.from('first'))
  await assertFinished(contents, editor, Buffer.from('firstlater'))
  await editor.truncate(INLINE_MAX)
  await assertFinished(
    contents,
    editor,
    Buffer.concat([Buffer.from('firstlater'), Buffer.alloc(INLINE_MAX - 10)]),
  )
  assert.equal(await countBlocks(), 0)
  assert.equal(kept.begun, 0)
})

test('content editor: appending to a large file moves none of it', async (t) => {
  const { contents, countBlocks } = await openTemporary(t)
  const plain = exampleBytes(6 * MiB)
  const { content } = await write(contents, plain)
  await using editor = await contents.openEditor(content, { signal })
  await editor.write(plain.length, Buffer.from('more'))
  await assertFinished(contents, editor, Buffer.concat([plain, Buffer.from('more')]))
  assert.equal(await countBlocks(), 7)
})

test('content editor: stored without its MD5, it is the same content, and none of its base is read', async (t) => {
  const { contents, store } = await openTemporary(t)
  const plain = exampleBytes(5 * MiB + 99)
  const { content } = await write(contents, plain.subarray(0, 3 * MiB))
  await using editor = await contents.openEditor(content, { signal })
  await editor.write(3 * MiB, plain.subarray(3 * MiB, 4 * MiB + 7))
  const first = await editor.store()
  await editor.write(4 * MiB + 7, plain.subarray(4 * MiB + 7))
  assert.ok((await read(contents, [wholeOf(first)])).equals(plain.subarray(0, 4 * MiB + 7)))
  const whole = await assertFinished(contents, editor, plain)
  await store.blocks.remove(createHash('sha256').update(plain.subarray(0, MiB)).digest('hex'), 2 ** 40)
  assert.deepEqual(await editor.store(), whole)
})

test('content editor: unchanged, it is its base; cut short, it is a part of it', async (t) => {
  const { contents } = await openTemporary(t)
  const plain = exampleBytes(3 * MiB + 17)
  const { content } = await write(contents, plain)
  await using editor = await contents.openEditor(content, { signal })
  assert.deepEqual(await assertFinished(contents, editor, plain), content)
  await editor.truncate(2 * MiB)
  await assertFinished(contents, editor, plain.subarray(0, 2 * MiB))
  await editor.truncate(3 * MiB + 17)
  await assertFinished(contents, editor, Buffer.concat([plain.subarray(0, 2 * MiB), Buffer.alloc(MiB + 17)]))
})

test('content editor: a gap of a terabyte costs nothing but its MD5', async (t) => {
  const { contents, countBlocks } = await openTemporary(t)
  await using editor = await contents.openEditor(undefined, { signal })
  await editor.write(2 ** 40, Buffer.from('far'))
  assert.deepEqual([...(await editor.read(2 ** 40 - 2, 10))], [0, 0, 102, 97, 114])
  await editor.truncate(3)
  await assertFinished(contents, editor, Buffer.alloc(3))
  assert.equal(await countBlocks(), 0)
})

test('content editor: the bytes given to write may be used again', async (t) => {
  const { contents } = await openTemporary(t)
  await using editor = await contents.openEditor(undefined, { signal })
  const chunk = Buffer.alloc(1000)
  for (let at = 0; at < 30; at++) await editor.write(at * 1000, chunk.fill(at))
  const expected = Buffer.concat(Array.from({ length: 30 }, (_, at) => Buffer.alloc(1000, at)))
  await assertFinished(contents, editor, expected)
})

test('content editor: what was left alone for a while is in the store', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { contents, countBlocks } = await openTemporary(t)
  await using editor = await contents.openEditor(undefined, { signal })
  const plain = exampleBytes(MiB / 2)
  await editor.write(0, plain)
  assert.equal(await countBlocks(), 0)
  t.mock.timers.tick(1_000)
  // Comes after the flush that the timer asked for.
  assert.ok(plain.equals(await editor.read(0, MiB)))
  assert.equal(await countBlocks(), 1)
  await editor.write(3, Buffer.from('x'))
  plain.write('x', 3)
  await assertFinished(contents, editor, plain)
})

test('content editor: one that holds blocks stores none before it is full or asked for', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { contents, countBlocks } = await openTemporary(t)
  await using editor = await contents.openEditor(undefined, { signal, holds: true })
  const plain = exampleBytes(MiB + MiB / 2)
  for (let at = 0; at < plain.length; at += MiB / 4) {
    await editor.write(at, plain.subarray(at, at + MiB / 4))
    t.mock.timers.tick(1_000)
    assert.equal((await editor.read(at, 1)).length, 1)
  }
  await assertFinished(contents, editor, plain)
  assert.equal(await countBlocks(), 2)
})

test('content editor: one that is not summed makes the MD5 only where that is asked for, each time anew', async (t) => {
  const { contents } = await openTemporary(t)
  await using editor = await contents.openEditor(undefined, { signal, unsummed: true })
  const plain = exampleBytes(5 * MiB + 700)
  for (let at = 0; at < plain.length; at += MiB) await editor.write(at, plain.subarray(at, at + MiB))
  await assertFinished(contents, editor, plain)
  plain.fill(7, 3 * MiB)
  await editor.write(3 * MiB, plain.subarray(3 * MiB))
  await assertFinished(contents, editor, plain)
})

test('ordered sum: one that is not eager takes no block while that is stored', () => {
  const md5 = {} as RunningMd5
  const pool = { startMd5: () => md5 } as BlockPool
  assert.equal(new OrderedSum(pool, false).follow(0, MiB), undefined)
  assert.equal(new OrderedSum(pool, true).follow(0, MiB), md5)
})

test('content editor: a full disk is told, and again at the end', async (t) => {
  const { contents } = await openTemporary(t, { reserve: 2 ** 60 })
  await using editor = await contents.openEditor(undefined, { signal })
  await assert.rejects(async () => {
    for (let at = 0; at < 20; at++) await editor.write(at * MiB, exampleBytes(MiB, at + 1))
  }, isError('unavailable'))
  await assert.rejects(editor.finish(), isError('unavailable'))
})

test('content editor: a base that is missing, an image, or past every limit is refused', async (t) => {
  const { contents } = await openTemporary(t)
  const manifest = 'ab'.repeat(32)
  const open = (form: 'raw' | 'lz4') =>
    contents.openEditor({ kind: 'manifest', manifest, form, size: MiB }, { signal })
  await assert.rejects(open('raw'), isError('not_found'))
  await assert.rejects(open('lz4'), isError('invalid'))
  await using editor = await contents.openEditor(undefined, { signal })
  for (const offset of [-1, 0.5, 2 ** 46, 2 ** 53])
    await assert.rejects(editor.write(offset, Buffer.alloc(1)), isError('too_large'))
  await assert.rejects(editor.truncate(2 ** 47), isError('too_large'))
  assert.equal(editor.size, 0)
})

test('content editor: an abort ends all that waits', async (t) => {
  const { contents } = await openTemporary(t)
  const controller = new AbortController()
  await using editor = await contents.openEditor(undefined, { signal: controller.signal })
  const calls = Array.from({ length: 10 }, (_, at) => editor.write(at * MiB, exampleBytes(MiB, at + 1)))
  controller.abort(new Error('gone'))
  for (const call of calls) await assert.rejects(call, /gone/)
  await assert.rejects(editor.finish(), /gone/)
})
