import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { constants, zstdCompressSync } from 'node:zlib'
import { KiB, MiB } from '#base/bytes.ts'
import {
  assertDamageFound,
  assertRefused,
  assertTruncatedAnywhere,
  diskBytes,
  inChunks,
  le16,
  le32,
  le64,
  OPTIONS,
  randomSizes,
  readAll,
  runTool,
  skippable,
  zstdFrame,
} from '../../../../test/support/compressed-streams.ts'
import { needs } from '../../../../test/support/tools.ts'
import { decodeZstd } from './decode.ts'

const disk = diskBytes(3 * MiB + 12_345)
const plain = disk.subarray(0, 10_001)
/** As the zstd program does it from a pipe: with a checksum, without the size. */
const packed = (bytes: Uint8Array) =>
  zstdCompressSync(bytes, {
    params: { [constants.ZSTD_c_checksumFlag]: 1, [constants.ZSTD_c_contentSizeFlag]: 0 },
  })
const good = packed(plain)
const large = packed(disk)
const zeros = Buffer.from([0])
const block = [1, 65_536, zeros] as const

test('zstd: reads what the zstd program writes, in chunks of any size', needs('zstd'), async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  for (const options of [
    '-1',
    '-3 -T2',
    '-19',
    '--no-check',
    '--long=27',
    '--fast=5',
    '-3 --no-content-size',
  ]) {
    const file = runTool(`zstd -q -c ${options}`, disk)
    const chunks = await Array.fromAsync(decodeZstd(inChunks(file, randomSizes(seed)), OPTIONS))
    assert.ok(Buffer.concat(chunks).equals(disk), `zstd ${options}, seed ${seed}`)
  }
})

test('zstd: frames and skippable frames follow each other, small and large', async () => {
  const file = Buffer.concat([skippable(le32(7)), good, skippable(Buffer.from('x'), 3), large, good, large])
  assert.ok((await readAll(decodeZstd, file)).equals(Buffer.concat([plain, disk, plain, disk])))
})

test('zstd: reads raw, repeated and empty blocks', async () => {
  const blocks = [
    [1, 131_072, Buffer.from([7])],
    [0, 1000, plain.subarray(0, 1000)],
    [0, 0, Buffer.alloc(0)],
  ] as const
  const expected = Buffer.concat([Buffer.alloc(131_072, 7), plain.subarray(0, 1000)])
  assert.ok((await readAll(decodeZstd, zstdFrame({ blocks }))).equals(expected))
})

test('zstd: refuses a window over the limit before anything is allocated for it', async () => {
  for (const window of [0xff, 21 << 3, (17 << 3) + 1]) {
    await assertRefused(decodeZstd, zstdFrame({ blocks: [block], window }), 'memory-limit')
  }
  assert.equal((await readAll(decodeZstd, zstdFrame({ blocks: [block], window: 17 << 3 }))).length, 65_536)
  const segment = zstdFrame({ blocks: [block], flags: 0xe0, window: null, fields: le64(8n << 30n) })
  await assertRefused(decodeZstd, segment, 'memory-limit')
  await assertRefused(decodeZstd, large, 'memory-limit', { zstdWindow: 1 * MiB })
})

test('zstd: refuses a dictionary and reserved bits, not a dictionary of number 0', async () => {
  for (const [flags, fields] of [
    [1, [7]],
    [2, [0, 1]],
    [3, [0, 0, 0, 1]],
  ] as const) {
    const frame = zstdFrame({ blocks: [block], flags, fields: Buffer.from(fields) })
    await assertRefused(decodeZstd, frame, 'unsupported-stream')
  }
  assert.equal(
    (await readAll(decodeZstd, zstdFrame({ blocks: [block], flags: 1, fields: zeros }))).length,
    65_536,
  )
  await assertRefused(decodeZstd, zstdFrame({ blocks: [block], flags: 8 }), 'unsupported-stream')
})

test('zstd: refuses blocks of the reserved type, over 128 KiB, or over the window', async () => {
  await assertRefused(decodeZstd, zstdFrame({ blocks: [[3, 100, Buffer.alloc(100)]] }), 'bad-stream')
  for (const type of [0, 1, 2]) {
    const body = Buffer.alloc(type === 1 ? 1 : 131_073)
    await assertRefused(decodeZstd, zstdFrame({ blocks: [[type, 131_073, body]] }), 'bad-stream')
  }
  await assertRefused(decodeZstd, zstdFrame({ blocks: [[1, 2 * KiB, zeros]], window: 0 }), 'bad-stream')
  await assertRefused(decodeZstd, zstdFrame({ blocks: [[2, 100, Buffer.alloc(100, 0xff)]] }), 'bad-stream')
})

test('zstd: verifies checksums of small and large frames', async () => {
  for (const file of [good, large]) {
    const wrong = Buffer.concat([file.subarray(0, -4), Buffer.from('abcd')])
    await assertRefused(decodeZstd, wrong, 'checksum')
  }
})

test('zstd: compares the content size, and refuses one over the limit before any block', async () => {
  for (const size of [500, 2000]) {
    const frame = zstdFrame({ blocks: [[1, 1000, zeros]], flags: 0x40, fields: le16(size - 256) })
    await assertRefused(decodeZstd, frame, 'size-mismatch')
  }
  const huge = zstdFrame({ blocks: [block], flags: 0xc0, fields: le64(1n << 62n) })
  await assertRefused(decodeZstd, huge, 'too-large')
  await assertRefused(decodeZstd, good, 'too-large', { limit: plain.length - 1 })
})

test('zstd: output ends at the limit, however small the file', async () => {
  const limit = 64 * MiB
  const bomb = zstdFrame({ blocks: Array(524_288).fill([1, 131_072, zeros]) })
  await assertRefused(decodeZstd, bomb, 'too-large', { limit })
  await assertRefused(decodeZstd, packed(Buffer.alloc(65 * MiB)), 'too-large', { limit })
  const many = Buffer.concat(Array(1_000).fill(zstdFrame({ blocks: [[1, 131_072, zeros]] })))
  await assertRefused(decodeZstd, many, 'too-large', { limit })
  assert.equal((await readAll(decodeZstd, good, { limit: plain.length })).length, plain.length)
})

test('zstd: a file cut anywhere is truncated', async () => {
  const short = packed(plain.subarray(0, 300))
  await assertTruncatedAnywhere(decodeZstd, Buffer.concat([short, short]), { from: 1, ends: [short.length] })
  await assertTruncatedAnywhere(decodeZstd, large, { from: 100_000, step: 300_001 })
  for (let cut = 1; cut <= 10; cut++) await assertRefused(decodeZstd, large.subarray(0, -cut), 'truncated')
  await assertRefused(decodeZstd, Buffer.concat([good, skippable(zeros, 0, 0xffffffff)]), 'truncated')
})

test('zstd: refuses what follows the last frame', async () => {
  for (const rest of [Buffer.from('garbage!'), Buffer.alloc(4096), Buffer.alloc(1)]) {
    await assertRefused(decodeZstd, Buffer.concat([good, rest]), 'trailing-garbage')
    await assertRefused(decodeZstd, Buffer.concat([large, rest]), 'trailing-garbage')
  }
})

test('zstd: a file without content is empty', async () => {
  await assertRefused(decodeZstd, packed(Buffer.alloc(0)), 'empty')
  await assertRefused(decodeZstd, skippable(Buffer.from('nothing')), 'empty')
})

test('zstd: a changed bit gives a refusal or the same content', async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  await assertDamageFound(decodeZstd, Buffer.concat([good, good]), Buffer.concat([plain, plain]), {
    seed,
    rounds: 300,
  })
})

test('zstd: aborting ends a wait for input with the reason', async () => {
  const stop = new AbortController()
  async function* stalls() {
    yield large.subarray(0, 200_000)
    stop.abort(new Error('cancelled'))
    await new Promise(() => {})
  }
  await assert.rejects(
    Array.fromAsync(decodeZstd(stalls(), { ...OPTIONS, signal: stop.signal })),
    /cancelled/,
  )
})
