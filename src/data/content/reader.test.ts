import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import type { Content, Part } from '#base/content.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import { openForm } from '#data/form/form.ts'
import { isError } from '#data/store/contract.ts'
import { exampleBytes, openTemporary, read, signal, wholeOf, write } from './content.fixtures.ts'

test('content reader: any range of any parts is that of the parts joined', async (t) => {
  const seed = randomInt(2 ** 31)
  const random = createRandom(seed)
  const { contents } = await openTemporary(t)
  const plains = [0, 1, 9000, 16_385, MiB, 2 * MiB + 5].map((size, index) => exampleBytes(size, index + 1))
  plains.push(Buffer.concat([Buffer.alloc(2 * MiB), exampleBytes(77, 50)]))
  const written = await Promise.all(plains.map((plain) => write(contents, plain)))
  for (let round = 0; round < 20; round++) {
    const parts: Part[] = []
    const expected: Buffer[] = []
    for (let count = 1 + random.below(12); count > 0; count--) {
      const index = random.below(plains.length)
      const plain = plains[index] as Buffer
      const offset = random.below(plain.length + 1)
      const length = random.chance(0.3) ? plain.length - offset : random.below(plain.length - offset + 1)
      parts.push({ content: written[index]?.content as Content, offset, length })
      expected.push(plain.subarray(offset, offset + length))
    }
    const whole = Buffer.concat(expected)
    assert.ok((await read(contents, parts)).equals(whole), `seed ${seed}`)
    const offset = random.below(whole.length + 1)
    const length = random.below(whole.length - offset + 1)
    const range = await read(contents, parts, [offset, length])
    assert.ok(range.equals(whole.subarray(offset, offset + length)), `seed ${seed}`)
  }
})

test('content reader: every form is read as data/form gives it', async (t) => {
  const { contents, store } = await openTemporary(t)
  const plain = Buffer.concat([exampleBytes(2 * MiB), Buffer.alloc(MiB), exampleBytes(512, 2)])
  const { content } = await write(contents, plain)
  assert.ok(content.kind === 'manifest')
  for (const kind of ['raw', 'lz4', 'qcow2'] as const) {
    await using form = await openForm(store, content.manifest, kind)
    const expected = Buffer.concat(await Array.fromAsync(form.read(0, form.size, signal)))
    assert.equal(await contents.measure(content.manifest, kind), form.size)
    const part = wholeOf({ ...content, form: kind, size: form.size })
    assert.ok((await read(contents, [part])).equals(expected), kind)
    assert.ok((await read(contents, [part], [70_000, MiB])).equals(expected.subarray(70_000, 70_000 + MiB)))
    await using lent = await contents.openForm(content.manifest, kind)
    assert.equal(lent.etag, form.etag)
    const chunks: Buffer[] = []
    for await (const chunk of lent.read(0, lent.size, signal)) chunks.push(Buffer.from(chunk))
    assert.ok(Buffer.concat(chunks).equals(expected), kind)
  }
})

test('content reader: breaks off at a part that is gone, with what was said of it', async (t) => {
  const { contents } = await openTemporary(t)
  const { content } = await write(contents, exampleBytes(20_000))
  await using reader = await contents.openReader([
    wholeOf(content),
    { content: undefined, why: 'segment /c/o is gone', length: 10 },
    wholeOf(content),
  ])
  assert.equal(reader.size, 40_010)
  let got = 0
  await assert.rejects(async () => {
    for await (const chunk of reader.read(0, reader.size, signal)) got += chunk.length
  }, /segment \/c\/o is gone/)
  assert.equal(got, 20_000)
  assert.equal((await Array.fromAsync(reader.read(20_010, 20_000, signal))).length, 1)
})

test('content reader: a manifest that is missing, or has another size, is told when it is reached', async (t) => {
  const { contents } = await openTemporary(t)
  const { content } = await write(contents, exampleBytes(20_000))
  assert.ok(content.kind === 'manifest')
  const missing: Content = { ...content, manifest: 'ab'.repeat(32) }
  await assert.rejects(read(contents, [wholeOf(content), wholeOf(missing)]), isError('not_found'))
  assert.equal((await read(contents, [wholeOf(content), wholeOf(missing)], [0, 20_000])).length, 20_000)
  await assert.rejects(read(contents, [wholeOf({ ...content, size: 19_999 })]), isError('corrupt'))
})

test('content reader: damage is never read', async (t) => {
  const { contents, storePlace } = await openTemporary(t, { slots: 4 })
  const { content } = await write(contents, exampleBytes(20_000))
  const [block] = (await readdir(join(storePlace, 'blocks'), { recursive: true })).filter((name) =>
    name.includes('/'),
  )
  await writeFile(join(storePlace, 'blocks', block as string), 'damage')
  // Often enough that a slot lost each time would be missed.
  for (let round = 0; round < 10; round++)
    await assert.rejects(read(contents, [wholeOf(content)]), isError('corrupt'))
})

test('content reader: an abort ends reading with its reason, and gives back what was loading', async (t) => {
  const { contents } = await openTemporary(t, { slots: 4 })
  const plain = exampleBytes(3 * MiB)
  const { content } = await write(contents, plain)
  for (let round = 0; round < 10; round++) {
    const controller = new AbortController()
    await using reader = await contents.openReader([wholeOf(content)])
    const reading = reader.read(0, plain.length, controller.signal)
    if (round % 2 === 1) await reading.next()
    const next = reading.next()
    controller.abort(new Error('gone'))
    await assert.rejects(next, /gone/)
  }
  assert.ok((await read(contents, [wholeOf(content)])).equals(plain))
})

test('content reader: two at once over many manifests of one reader stay apart', async (t) => {
  const { contents } = await openTemporary(t)
  const plains = Array.from({ length: 9 }, (_, index) => exampleBytes(17_000 + index, index + 1))
  const written = await Promise.all(plains.map((plain) => write(contents, plain)))
  await using reader = await contents.openReader(written.map(({ content }) => wholeOf(content)))
  const whole = Buffer.concat(plains)
  await Promise.all(
    [0, 5_000, 60_000, 100_000].map(async (offset) => {
      const chunks: Buffer[] = []
      for await (const chunk of reader.read(offset, reader.size - offset, signal))
        chunks.push(Buffer.from(chunk))
      assert.ok(Buffer.concat(chunks).equals(whole.subarray(offset)))
    }),
  )
})
