import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KiB, MiB } from '#base/bytes.ts'
import type { Content, Part } from '#base/content.ts'
import { exampleBytes, openTemporary, read, wholeOf, write } from './content.fixtures.ts'

test('content join: parts of whole blocks become one disk without moving data', async (t) => {
  const { contents, countBlocks, kept } = await openTemporary(t)
  const plains = [3 * MiB, MiB, 2 * MiB + 1024].map((size, index) => exampleBytes(size, index + 1))
  plains.splice(1, 0, Buffer.alloc(600 * MiB))
  const written = await Promise.all(plains.map((plain) => write(contents, plain, MiB)))
  const blocks = await countBlocks()
  const joined = await contents.join(written.map(({ content }) => wholeOf(content)))
  assert.ok(joined)
  assert.equal(joined.size, 606 * MiB + 1024)
  assert.equal(await countBlocks(), blocks)
  assert.equal(kept.ended, kept.begun)
  const disk = wholeOf({ kind: 'manifest', form: 'raw', ...joined })
  const start = Buffer.concat([plains[0] as Buffer, Buffer.alloc(MiB)])
  assert.ok((await read(contents, [disk], [0, 4 * MiB])).equals(start))
  const end = Buffer.concat([Buffer.alloc(MiB), ...plains.slice(2)])
  assert.ok((await read(contents, [disk], [602 * MiB, 4 * MiB + 1024])).equals(end))
})

test('content join: one whole content is its own manifest', async (t) => {
  const { contents } = await openTemporary(t)
  const { content } = await write(contents, exampleBytes(2 * MiB + 512))
  assert.ok(content.kind === 'manifest')
  assert.equal((await contents.join([wholeOf(content)]))?.manifest, content.manifest)
})

test('content join: pieces of whole blocks, and a few bytes at the end', async (t) => {
  const { contents } = await openTemporary(t)
  const plain = exampleBytes(4 * MiB)
  const { content } = await write(contents, plain)
  const few: Content = { kind: 'inline', bytes: exampleBytes(KiB, 9) }
  const joined = await contents.join([
    { content, offset: 2 * MiB, length: MiB },
    { content: { kind: 'inline', bytes: Buffer.alloc(0) }, offset: 0, length: 0 },
    { content, offset: 0, length: MiB },
    { content: few, offset: 512, length: 512 },
  ])
  assert.ok(joined)
  const expected = Buffer.concat([
    plain.subarray(2 * MiB, 3 * MiB),
    plain.subarray(0, MiB),
    exampleBytes(KiB, 9).subarray(512),
  ])
  const disk = wholeOf({ kind: 'manifest', form: 'raw', ...joined })
  assert.ok((await read(contents, [disk])).equals(expected))
})

test('content join: what does not fit together is not joined', async (t) => {
  const { contents, countBlocks } = await openTemporary(t)
  const { content } = await write(contents, exampleBytes(2 * MiB + 512))
  const whole = wholeOf(content)
  const image: Content = { kind: 'manifest', manifest: 'ab'.repeat(32), form: 'lz4', size: MiB }
  const blocks = await countBlocks()
  const refused: Part[][] = [
    [],
    [wholeOf({ kind: 'inline', bytes: Buffer.alloc(0) })],
    [whole, whole],
    [{ content, offset: 512, length: MiB }],
    [{ content, offset: 0, length: 512 }],
    [{ content, offset: MiB, length: MiB + 511 }],
    [wholeOf({ kind: 'inline', bytes: Buffer.alloc(512) }), whole],
    [wholeOf({ kind: 'inline', bytes: Buffer.alloc(511) })],
    [wholeOf(image)],
    [{ content: undefined, why: 'gone', length: MiB }, whole],
  ]
  for (const parts of refused) assert.equal(await contents.join(parts), undefined)
  assert.equal(await countBlocks(), blocks)
})
