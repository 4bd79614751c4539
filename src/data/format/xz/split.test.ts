import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { KiB, MiB } from '#base/bytes.ts'
import {
  assertRefused,
  diskBytes,
  inChunks,
  lzma2,
  OPTIONS,
  randomSizes,
  runTool,
  xzStream,
} from '../../../../test/support/compressed-streams.ts'
import { needs } from '../../../../test/support/tools.ts'
import { decodeXzBlock, type XzBlock } from './block.ts'
import { splitXz } from './split.ts'

const xz = needs('xz')
const plain = diskBytes(2 * MiB + 777, 3)

const decodeAll = async (chunks: AsyncIterable<Uint8Array>) => {
  const copies: Buffer[] = []
  for await (const chunk of chunks) copies.push(Buffer.from(chunk))
  return Buffer.concat(copies)
}

test('xz split: blocks with sizes come whole, and decode in any order', xz, async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  for (const check of ['none', 'crc32', 'crc64', 'sha256']) {
    const packed = runTool(`xz -c -0 -T2 --block-size=512KiB --check=${check}`, plain)
    const blocks: XzBlock[] = []
    for await (const item of splitXz(inChunks(packed, randomSizes(seed)), OPTIONS)) {
      assert.equal(item.kind, 'block')
      if (item.kind === 'block') blocks.push(item)
    }
    assert.deepEqual(
      blocks.map(({ uncompressedSize }) => uncompressedSize),
      [512 * KiB, 512 * KiB, 512 * KiB, 512 * KiB, 777],
    )
    const parts = await Promise.all(
      blocks.toReversed().map((block) => decodeAll(decodeXzBlock(block, OPTIONS))),
    )
    assert.ok(Buffer.concat(parts.toReversed()).equals(plain), `check ${check}, seed ${seed}`)
  }
})

test('xz split: blocks without sizes, or over the bound, come decoded', xz, async () => {
  for (const [packed, maxBufferedBlock] of [
    [runTool('xz -c -0 -T1', plain), 48 * MiB],
    [runTool('xz -c -0 -T2 --block-size=512KiB', plain), 10 * KiB],
  ] as const) {
    const parts: Buffer[] = []
    for await (const item of splitXz(inChunks(packed, 65_536), { ...OPTIONS, maxBufferedBlock })) {
      parts.push(await decodeAll(item.kind === 'block' ? decodeXzBlock(item, OPTIONS) : item.chunks))
      if (item.kind === 'block') assert.ok(item.bytes.length <= maxBufferedBlock)
    }
    assert.ok(Buffer.concat(parts).equals(plain))
  }
})

test('xz split: blocks with a large dictionary come decoded, one after the other', xz, async () => {
  const packed = runTool('xz -c -T2 --block-size=1MiB --lzma2=preset=0,dict=64MiB', plain)
  const parts: Buffer[] = []
  for await (const item of splitXz(inChunks(packed, 65_536), OPTIONS)) {
    assert.ok(item.kind === 'stream')
    parts.push(await decodeAll(item.chunks))
  }
  assert.equal(parts.length, 3)
  assert.ok(Buffer.concat(parts).equals(plain))
})

test('xz split: what is wrong behind the last block is thrown after it', async () => {
  const blocks = [{ data: lzma2(plain), plain }]
  const sized = { blocks, compressedSize: true, uncompressedSize: true } as const
  const items: string[] = []
  const file = xzStream({ ...sized, index: ([record]) => [[record![0], record![1] + 1]] })
  await assert.rejects(
    async () => {
      for await (const { kind } of splitXz(inChunks(file, 5000), OPTIONS)) items.push(kind)
    },
    { category: 'size-mismatch' },
  )
  assert.deepEqual(items, ['block'])
})

test('xz split: a block is refused where it is decoded when its check is wrong', async () => {
  const blocks = [{ data: lzma2(plain), plain }]
  const file = xzStream({ blocks, compressedSize: true, uncompressedSize: true, checkBytes: Buffer.alloc(4) })
  for await (const item of splitXz(inChunks(file, 65_536), OPTIONS)) {
    assert.ok(item.kind === 'block')
    await assert.rejects(decodeAll(decodeXzBlock(item, OPTIONS)), { category: 'checksum' })
  }
})

test('xz split: the limit counts blocks that nobody has decoded', xz, async () => {
  const packed = runTool('xz -c -0 -T2 --block-size=512KiB', plain)
  const blocksOnly = async function* (input: AsyncIterable<Uint8Array>, options: typeof OPTIONS) {
    for await (const item of splitXz(input, options)) if (item.kind === 'stream') yield* item.chunks
  }
  await assertRefused(blocksOnly, packed, 'too-large', { limit: plain.length - 1 })
})

test('xz split: others have their turn while a block is decoded, and may end it', async () => {
  const zeros = Buffer.alloc(32 * MiB)
  const file = xzStream({
    blocks: [{ data: lzma2(zeros), plain: zeros }],
    compressedSize: true,
    uncompressedSize: true,
  })
  for await (const item of splitXz(inChunks(file, 65_536), OPTIONS)) {
    assert.ok(item.kind === 'block')
    const stop = new AbortController()
    setImmediate(() => stop.abort(new Error('cancelled')))
    await assert.rejects(decodeAll(decodeXzBlock(item, { ...OPTIONS, signal: stop.signal })), /cancelled/)
  }
})
