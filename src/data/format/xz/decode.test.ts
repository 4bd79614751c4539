import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { KiB, MiB } from '#base/bytes.ts'
import {
  assertDamageFound,
  assertRefused,
  assertTruncatedAnywhere,
  diskBytes,
  inChunks,
  lzma2,
  lzma2Stored,
  OPTIONS,
  randomSizes,
  readAll,
  runTool,
  type XzSpec,
  xzInteger,
  xzStream,
} from '../../../../test/support/compressed-streams.ts'
import { needs } from '../../../../test/support/tools.ts'
import { decodeXz } from './decode.ts'

const xz = needs('xz')
const disk = diskBytes(3 * MiB + 12_345)
const plain = disk.subarray(0, 100_001)
const data = lzma2(plain)
const one = [{ data, plain }]
const half = 50_000
const two = [
  { data: lzma2(plain.subarray(0, half)), plain: plain.subarray(0, half) },
  { data: lzma2Stored(plain.subarray(half)), plain: plain.subarray(half) },
]
const good = xzStream({ blocks: one })
const stream = (spec: Partial<XzSpec>) => xzStream({ blocks: one, ...spec })

test('xz: reads what the xz program writes, with every check and block size', xz, async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  for (const options of [
    '-0',
    '-6 -T1',
    '-0 --check=none',
    '-0 --check=crc32',
    '-0 --check=sha256',
    '-1 -T2 --block-size=512KiB',
    '-0 -T1 --block-list=1000,65536,512,700000,0',
    '--lzma2=preset=0,lc=0,lp=3,pb=1',
    '--lzma2=preset=0,dict=4KiB',
  ]) {
    const packed = runTool(`xz -q -c ${options}`, disk)
    const chunks: Buffer[] = []
    for await (const chunk of decodeXz(inChunks(packed, randomSizes(seed)), OPTIONS)) {
      chunks.push(Buffer.from(chunk))
    }
    assert.ok(Buffer.concat(chunks).equals(disk), `xz ${options}, seed ${seed}`)
  }
})

test('xz: accepts all that the format allows', async () => {
  for (const check of [0, 1, 4, 10]) {
    assert.ok((await readAll(decodeXz, xzStream({ blocks: two, check }))).equals(plain), `check ${check}`)
  }
  for (const spec of [
    { compressedSize: true, uncompressedSize: true },
    { extraHeader: Buffer.alloc(40) },
    { blocks: [{ data: Buffer.from([0]), plain: Buffer.alloc(0) }, ...two] },
  ] as const) {
    assert.ok((await readAll(decodeXz, xzStream({ blocks: two, ...spec }))).equals(plain))
  }
  const padded = Buffer.concat([
    xzStream({ blocks: [] }),
    Buffer.alloc(8),
    good,
    Buffer.alloc(4),
    good,
    Buffer.alloc(1024),
  ])
  assert.ok((await readAll(decodeXz, padded)).equals(Buffer.concat([plain, plain])))
})

test('xz: reads a stream byte by byte', async () => {
  const chunks = await Array.fromAsync(
    decodeXz(inChunks(xzStream({ blocks: two, check: 4 }), 1), OPTIONS),
    (chunk) => Buffer.from(chunk),
  )
  assert.ok(Buffer.concat(chunks).equals(plain))
})

test('xz: refuses each wrong checksum', async () => {
  for (const wrongCrc of ['header', 'block', 'index', 'footer'] as const) {
    await assertRefused(decodeXz, stream({ wrongCrc }), 'checksum')
  }
  for (const [check, length] of [
    [1, 4],
    [4, 8],
    [10, 32],
  ] as const) {
    await assertRefused(decodeXz, stream({ check, checkBytes: Buffer.alloc(length, 7) }), 'checksum')
    const nothing = [{ data: Buffer.from([0]), plain: Buffer.alloc(0) }, ...one]
    await assertRefused(
      decodeXz,
      stream({ check, blocks: nothing, checkBytes: Buffer.alloc(length, 7) }),
      'checksum',
    )
  }
})

test('xz: refuses checks and flags that are not known', async () => {
  await assertRefused(decodeXz, stream({ check: 2, checkBytes: Buffer.alloc(4) }), 'unsupported-stream')
  await assertRefused(decodeXz, stream({ headerFlags: [0, 0x11] }), 'unsupported-stream')
  await assertRefused(decodeXz, stream({ headerFlags: [1, 1] }), 'unsupported-stream')
  await assertRefused(decodeXz, stream({ blockFlags: 0x04 }), 'unsupported-stream')
})

test('xz: refuses a footer that does not fit the stream', async () => {
  await assertRefused(decodeXz, stream({ footerFlags: [0, 4] }), 'bad-stream')
  await assertRefused(decodeXz, stream({ footerMagic: 'ZZ' }), 'bad-stream')
  await assertRefused(decodeXz, stream({ backward: 9 }), 'bad-stream')
})

test('xz: refuses a dictionary over the limit before anything is allocated for it', async () => {
  for (const dictionaryCode of [29, 37, 40])
    await assertRefused(decodeXz, stream({ dictionaryCode }), 'memory-limit')
  await assertRefused(decodeXz, stream({ dictionaryCode: 41 }), 'bad-stream')
  await assertRefused(decodeXz, stream({ dictionaryCode: 0x40 }), 'bad-stream')
  await assertRefused(decodeXz, good, 'memory-limit', { xzDictionary: 512 * KiB })
  assert.ok((await readAll(decodeXz, stream({ dictionaryCode: 28 }))).equals(plain))
})

test('xz: refuses filters other than LZMA2', xz, async () => {
  const cases: XzSpec['filters'][] = [
    [
      [4, []],
      [0x21, [16]],
    ],
    [
      [3, [0]],
      [0x21, [16]],
    ],
    [[0x7f, []]],
    [
      [(1n << 62n) + 1n, []],
      [0x21, [16]],
    ],
    [
      [0x21, [16]],
      [0x21, [16]],
    ],
  ]
  for (const filters of cases)
    await assertRefused(decodeXz, stream({ filters: filters! }), 'unsupported-stream')
  await assertRefused(decodeXz, stream({ filters: [[0x21, Array(50).fill(16)]] }), 'bad-stream')
  await assertRefused(decodeXz, runTool('xz -c --x86 --lzma2=preset=0', plain), 'unsupported-stream')
})

test('xz: refuses padding that is not zero, in header and block', async () => {
  await assertRefused(decodeXz, stream({ extraHeader: Buffer.from([0, 0, 1, 0]) }), 'bad-stream')
  let odd = plain
  while (lzma2(odd).length % 4 === 0) odd = odd.subarray(1)
  await assertRefused(
    decodeXz,
    stream({ blocks: [{ data: lzma2(odd), plain: odd }], padding: 1 }),
    'bad-stream',
  )
})

test('xz: compares the sizes in a block header with the block', async () => {
  const length = plain.length
  for (const compressedSize of [100, data.length - 1, data.length + 1, 2n ** 63n - 1n]) {
    await assertRefused(decodeXz, stream({ compressedSize: xzInteger(compressedSize) }), 'size-mismatch')
  }
  await assertRefused(decodeXz, stream({ compressedSize: xzInteger(0) }), 'bad-stream')
  for (const uncompressedSize of [length - 1, length + 1]) {
    await assertRefused(decodeXz, stream({ uncompressedSize: xzInteger(uncompressedSize) }), 'size-mismatch')
  }
  await assertRefused(decodeXz, stream({ uncompressedSize: xzInteger(2n ** 62n) }), 'too-large')
  await assertRefused(decodeXz, stream({ uncompressedSize: Buffer.from([0x80, 0]) }), 'bad-stream')
  const long = Buffer.from([...Array<number>(9).fill(0xff), 1])
  await assertRefused(decodeXz, stream({ uncompressedSize: long }), 'bad-stream')
})

test('xz: compares the index with the blocks, record by record', async () => {
  const refused = (spec: Partial<XzSpec>, category: 'bad-stream' | 'size-mismatch') =>
    assertRefused(decodeXz, xzStream({ blocks: two, ...spec }), category)
  await refused({ index: (records) => records.slice(0, 1) }, 'bad-stream')
  await refused({ index: (records) => [...records, ...records] }, 'bad-stream')
  await refused({ index: () => [], count: 1n << 60n }, 'bad-stream')
  await refused({ index: ([a, b]) => [[a![0] + 4, a![1]], b!] }, 'size-mismatch')
  await refused({ index: ([a, b]) => [[a![0], 2n ** 62n], b!] }, 'size-mismatch')
  await refused(
    {
      index: ([a, b]) => [
        [a![0], a![1] - 512],
        [b![0], b![1] + 512],
      ],
    },
    'size-mismatch',
  )
  await refused({ index: ([a, b]) => [b!, a!] }, 'size-mismatch')
})

test('xz: refuses LZMA2 data that break its rules', xz, async () => {
  const abcd = Buffer.from('abcd')
  const withData = (bytes: readonly number[]) =>
    stream({ blocks: [{ data: Buffer.from(bytes), plain: abcd }] })
  await assertRefused(decodeXz, withData([2, 0, 3, ...abcd, 0]), 'bad-stream')
  await assertRefused(decodeXz, withData([3, 0, 3, ...abcd, 0]), 'bad-stream')
  await assertRefused(
    decodeXz,
    withData([1, 0, 3, ...abcd, 0x80, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]),
    'bad-stream',
  )
  for (const properties of [225, 4 + 9 * 4]) {
    const changed = Buffer.from(data)
    changed[5] = properties
    await assertRefused(decodeXz, stream({ blocks: [{ data: changed, plain }] }), 'bad-stream')
  }
  const flipped = Buffer.from(data)
  flipped[10] = flipped[10]! ^ 0xff
  await assertRefused(decodeXz, stream({ blocks: [{ data: flipped, plain }] }), 'bad-stream')
})

test('xz: output ends at the limit, in one block, many blocks and many streams', xz, async () => {
  const zeros = Buffer.alloc(8 * MiB)
  const block = { data: lzma2(zeros), plain: zeros }
  const limit = 64 * MiB
  await assertRefused(decodeXz, runTool('xz -c -0', Buffer.alloc(65 * MiB)), 'too-large', { limit })
  await assertRefused(decodeXz, xzStream({ blocks: Array(16).fill(block) }), 'too-large', { limit })
  const streams = Buffer.concat(Array(16).fill(xzStream({ blocks: [block] })))
  await assertRefused(decodeXz, streams, 'too-large', { limit })
  await assertRefused(decodeXz, good, 'too-large', { limit: plain.length - 1 })
  assert.equal((await readAll(decodeXz, good, { limit: plain.length })).length, plain.length)
})

test('xz: a file cut anywhere is truncated', async () => {
  const file = Buffer.concat([xzStream({ blocks: two, check: 4 }), good])
  const ends = [xzStream({ blocks: two, check: 4 }).length]
  await assertTruncatedAnywhere(decodeXz, file, { from: 1, ends, step: 4999 })
  await assertTruncatedAnywhere(decodeXz, good.subarray(0, 60), { from: 1 })
  for (let cut = 1; cut <= 40; cut++) await assertRefused(decodeXz, good.subarray(0, -cut), 'truncated')
})

test('xz: refuses what follows a stream, but for zeros in fours', async () => {
  const lzmaAlone = Buffer.concat([Buffer.from('5d00008000', 'hex'), Buffer.alloc(8, 0xff)])
  for (const rest of [
    Buffer.alloc(5),
    Buffer.from('garbage!'),
    lzmaAlone,
    Buffer.concat([Buffer.alloc(2), good]),
  ]) {
    await assertRefused(decodeXz, Buffer.concat([good, rest]), 'trailing-garbage')
  }
})

test('xz: a file without content is empty, however many blocks it has', async () => {
  await assertRefused(decodeXz, xzStream({ blocks: [] }), 'empty')
  const blocks = Array(20_000).fill({ data: Buffer.from([0]), plain: Buffer.alloc(0) })
  const file = xzStream({ blocks })
  const start = process.cpuUsage()
  await assertRefused(decodeXz, file, 'empty')
  assert.ok(process.cpuUsage(start).user < 3e6, 'an empty block is not worth a decoder')
})

test('xz: a changed bit gives a refusal or the same content', async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  await assertDamageFound(decodeXz, xzStream({ blocks: two, check: 10 }), plain, { seed, rounds: 100 })
})

test('xz: an input that fails, or an abort, is passed on and leaves nothing behind', xz, async () => {
  const packed = runTool('xz -c -0', disk)
  async function* fails() {
    yield packed.subarray(0, packed.length >> 1)
    throw new Error('connection lost')
  }
  await assert.rejects(Array.fromAsync(decodeXz(fails(), OPTIONS)), /connection lost/)
  const stop = new AbortController()
  async function* stalls() {
    yield packed.subarray(0, packed.length >> 1)
    stop.abort(new Error('cancelled'))
    await new Promise(() => {})
  }
  await assert.rejects(Array.fromAsync(decodeXz(stalls(), { ...OPTIONS, signal: stop.signal })), /cancelled/)
})

test('xz: a reader may leave in the middle', xz, async () => {
  let closed = false
  async function* input() {
    try {
      yield* inChunks(runTool('xz -c -0', disk), 10_000)
    } finally {
      closed = true
    }
  }
  for await (const chunk of decodeXz(input(), OPTIONS)) if (chunk.length > 0) break
  assert.ok(closed)
})
