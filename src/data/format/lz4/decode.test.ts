import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import {
  assertDamageFound,
  assertRefused,
  assertTruncatedAnywhere,
  diskBytes,
  inChunks,
  LZ4_LEGACY,
  le32,
  lz4Frame,
  lz4Literals,
  lz4Run,
  lz4Stored,
  OPTIONS,
  randomSizes,
  readAll,
  runTool,
  skippable,
  xxh32,
} from '../../../../test/support/compressed-streams.ts'
import { needs } from '../../../../test/support/tools.ts'
import { decodeLz4 } from './decode.ts'

const lz4 = needs('lz4')
const plain = diskBytes(3 * MiB + 12_345)
const small = plain.subarray(0, 100_000)
const halves = [lz4Stored(small.subarray(0, 50_000)), lz4Stored(small.subarray(50_000))]
const contentChecksum = xxh32(small)
const good = lz4Frame({ blocks: halves, contentChecksum, size: BigInt(small.length), blockChecksumOff: 0 })

test(
  'lz4: reads what the lz4 program writes, with every option, in chunks of any size',
  lz4,
  async (context) => {
    const seed = randomInt(2 ** 31)
    context.diagnostic(`seed ${seed}`)
    for (const options of [
      '',
      '-B4',
      '-B4 -BD',
      '-B5 -BD -BX --content-size',
      '-B6 -BD --no-frame-crc',
      '-B7 -BD -9',
      '-B7 -BX --no-frame-crc',
      '-l',
      '-12 -BD -B4',
    ]) {
      const packed = runTool(`lz4 -q -c ${options}`.trim(), plain)
      const chunks: Buffer[] = []
      for await (const chunk of decodeLz4(inChunks(packed, randomSizes(seed)), OPTIONS)) {
        chunks.push(Buffer.from(chunk))
      }
      assert.ok(Buffer.concat(chunks).equals(plain), `lz4 ${options}, seed ${seed}`)
    }
  },
)

test('lz4: frames, legacy frames and skippable frames follow each other in any order', lz4, async () => {
  const legacy = runTool('lz4 -q -c -l', small)
  const file = Buffer.concat([
    lz4Frame({ blocks: [] }),
    skippable(diskBytes(999), 7),
    good,
    legacy,
    legacy,
    skippable(Buffer.alloc(0), 15),
    runTool('lz4 -q -c -BX --no-frame-crc', small),
    good,
    skippable(Buffer.from('label')),
  ])
  assert.ok((await readAll(decodeLz4, file)).equals(Buffer.concat([small, small, small, small, small])))
})

test('lz4: short, empty and stored blocks may stand anywhere', async () => {
  const blocks = [
    lz4Stored(small.subarray(0, 1000)),
    lz4Stored(Buffer.alloc(0)),
    lz4Run(40_000, 9),
    lz4Literals(small.subarray(0, 512)),
  ]
  const expected = Buffer.concat([small.subarray(0, 1000), Buffer.alloc(40_000, 9), small.subarray(0, 512)])
  for (const blockChecksumOff of [undefined, 0]) {
    const frame = lz4Frame({
      blocks,
      blockCode: 0x70,
      ...(blockChecksumOff === undefined ? {} : { blockChecksumOff }),
    })
    assert.ok((await readAll(decodeLz4, frame)).equals(expected))
  }
})

test(
  'lz4: a match of a dependent block reaches 64 KiB back, also after the memory has been used up',
  lz4,
  async () => {
    const bytes = diskBytes(40_000, 5)
    const plainText = Buffer.concat(Array.from({ length: 800 }, () => bytes))
    const packed = runTool('lz4 -q -c -B4 -BD', plainText)
    assert.ok((await readAll(decodeLz4, packed)).equals(plainText))
  },
)

const frame = lz4Frame
test('lz4: refuses headers that are wrong or ask for what is not supported', async () => {
  await assertRefused(decodeLz4, frame({ blocks: halves, headerChecksumOff: 1 }), 'checksum')
  for (const flags of [0x20, 0xa0, 0xe0, 0x62]) {
    await assertRefused(decodeLz4, frame({ blocks: halves, flags }), 'unsupported-stream')
  }
  for (const blockCode of [0x00, 0x30, 0x41, 0xc0]) {
    await assertRefused(decodeLz4, frame({ blocks: halves, blockCode }), 'unsupported-stream')
  }
  await assertRefused(decodeLz4, frame({ blocks: halves, dictionary: 7 }), 'unsupported-stream')
})

test('lz4: refuses blocks that are longer than they may be, stored or decoded', async () => {
  const noise = diskBytes(70_000)
  await assertRefused(decodeLz4, frame({ blocks: [noise] }), 'bad-stream')
  await assertRefused(decodeLz4, frame({ blocks: [lz4Stored(noise)] }), 'bad-stream')
  await assertRefused(decodeLz4, frame({ blocks: [{ word: 0x7fffffff, body: small }] }), 'bad-stream')
  await assertRefused(decodeLz4, frame({ blocks: [lz4Run(65_537)] }), 'bad-stream')
  await assertRefused(decodeLz4, frame({ blocks: [lz4Run(15 * MiB)] }), 'bad-stream')
})

test('lz4: refuses blocks that are damaged', async () => {
  const match = (offset: number) =>
    Buffer.from([0x1f, 65, offset & 255, offset >> 8, 16, 0x50, 66, 66, 66, 66, 66])
  await assertRefused(decodeLz4, frame({ blocks: [match(0)] }), 'bad-stream')
  await assertRefused(decodeLz4, frame({ blocks: [match(65_535)] }), 'bad-stream')
  await assertRefused(
    decodeLz4,
    frame({ blocks: [lz4Stored(small.subarray(0, 65_536)), match(32_767)] }),
    'bad-stream',
  )
  await assertRefused(decodeLz4, frame({ blocks: [Buffer.from([0xf0, 255, 255, 255, 0, 97])] }), 'bad-stream')
  await assertRefused(
    decodeLz4,
    frame({ blocks: [Buffer.concat([Buffer.from([0xf0]), Buffer.alloc(60_000, 255)])] }),
    'bad-stream',
  )
})

test('lz4: refuses each wrong checksum', async () => {
  await assertRefused(decodeLz4, frame({ blocks: halves, blockChecksumOff: 1 }), 'checksum')
  await assertRefused(decodeLz4, frame({ blocks: halves, contentChecksum: contentChecksum ^ 1 }), 'checksum')
})

test('lz4: compares the content size, and refuses one over the limit before any block', async () => {
  const size = BigInt(small.length)
  await assertRefused(decodeLz4, frame({ blocks: halves, size: size - 1n }), 'size-mismatch')
  await assertRefused(decodeLz4, frame({ blocks: halves, size: size + 1n }), 'size-mismatch')
  for (const huge of [1n << 63n, (1n << 64n) - 1n]) {
    await assertRefused(decodeLz4, frame({ blocks: halves, size: huge }), 'too-large')
  }
  await assertRefused(decodeLz4, frame({ blocks: halves, size }), 'too-large', { limit: small.length - 1 })
})

test('lz4: output ends at the limit, however small the file', async () => {
  const bomb = frame({ blocks: Array.from({ length: 256 }, () => lz4Run(4 * MiB)), blockCode: 0x70 })
  await assertRefused(decodeLz4, bomb, 'too-large', { limit: 64 * MiB })
  await assertRefused(decodeLz4, good, 'too-large', { limit: small.length - 1 })
  assert.equal((await readAll(decodeLz4, good, { limit: small.length })).length, small.length)
})

test('lz4: a file cut anywhere is truncated', lz4, async () => {
  await assertTruncatedAnywhere(decodeLz4, good, { from: 1, step: 4997 })
  await assertTruncatedAnywhere(decodeLz4, good.subarray(0, 40), { from: 1 })
  for (let cut = 1; cut <= 12; cut++) await assertRefused(decodeLz4, good.subarray(0, -cut), 'truncated')
  const legacy = runTool('lz4 -q -c -l', small)
  await assertTruncatedAnywhere(decodeLz4, legacy, { from: 5, step: 4991 })
  await assertRefused(
    decodeLz4,
    Buffer.concat([good, skippable(Buffer.alloc(1), 0, 0xffffffff)]),
    'truncated',
  )
  await assertRefused(decodeLz4, Buffer.concat([good, good.subarray(0, 3)]), 'truncated')
})

test('lz4: refuses what follows the last frame, zeros included', async () => {
  for (const rest of [Buffer.from('garbage!'), Buffer.alloc(4096), Buffer.alloc(1), Buffer.from('xy')]) {
    await assertRefused(decodeLz4, Buffer.concat([good, rest]), 'trailing-garbage')
  }
})

test('lz4: refuses legacy blocks without or over the possible length', lz4, async () => {
  for (const length of [0, 8_421_521, 0x7fffffff]) {
    await assertRefused(decodeLz4, Buffer.concat([LZ4_LEGACY, le32(length), small]), 'bad-stream')
  }
  const large = lz4Run(8 * MiB + 1)
  await assertRefused(decodeLz4, Buffer.concat([LZ4_LEGACY, le32(large.length), large]), 'bad-stream')
  await assertRefused(
    decodeLz4,
    Buffer.concat([runTool('lz4 -q -c -l', small), Buffer.from([1, 2])]),
    'truncated',
  )
})

test('lz4: a file without content is empty', async () => {
  await assertRefused(decodeLz4, frame({ blocks: [] }), 'empty')
  await assertRefused(decodeLz4, skippable(Buffer.from('nothing here')), 'empty')
  await assertRefused(decodeLz4, LZ4_LEGACY, 'empty')
})

test('lz4: a changed bit gives a refusal or the same content', lz4, async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  await assertDamageFound(decodeLz4, good, small, { seed, rounds: 200 })
  await assertDamageFound(decodeLz4, runTool('lz4 -q -c -B4 -BD', small), small, { seed, rounds: 200 })
})

test('lz4: aborting ends a wait for input with the reason', async () => {
  const stop = new AbortController()
  async function* stalls() {
    yield good.subarray(0, 1000)
    stop.abort(new Error('cancelled'))
    await new Promise(() => {})
  }
  await assert.rejects(Array.fromAsync(decodeLz4(stalls(), { ...OPTIONS, signal: stop.signal })), /cancelled/)
})
