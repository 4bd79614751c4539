import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constants, deflateRawSync, deflateSync, zstdCompressSync } from 'node:zlib'
import { KiB, MiB } from '#base/bytes.ts'
import { decodeCluster } from './cluster.ts'
import type { Qcow2Compression } from './header.ts'
import { assertQuick, noise, texty } from './qcow2.fixtures.ts'

const CLUSTER_SIZES = [512, 4 * KiB, 64 * KiB, 2 * MiB]
const rest = noise(700, 99)

const decode = (input: Uint8Array, clusterSize: number, compression: Qcow2Compression) =>
  decodeCluster(input, { clusterSize, compression, offset: 4096 })

/** A stream gives `content` and tells where it ended, whatever follows. */
function assertDecodes(stream: Uint8Array, content: Uint8Array, compression: Qcow2Compression): void {
  for (const input of [stream, Buffer.concat([stream, rest])]) {
    const { bytes, consumed } = decode(input, content.length, compression)
    assert.ok(Buffer.from(content).equals(bytes))
    assert.equal(consumed, stream.length)
  }
}

function assertBad(stream: Uint8Array, clusterSize: number, compression: Qcow2Compression): void {
  assert.throws(() => decode(stream, clusterSize, compression), {
    category: 'bad-cluster',
    message: 'The compressed cluster at disk offset 4096 cannot be decoded.',
  })
}

const zstd = (content: Uint8Array, params: Record<number, number> = {}) =>
  zstdCompressSync(content, { params: { [constants.ZSTD_c_checksumFlag]: 0, ...params } })

test('deflate: streams of every window and level give one cluster and their exact length', () => {
  for (const size of CLUSTER_SIZES) {
    for (const content of [new Uint8Array(size), texty(size, 1), noise(size, 2)]) {
      for (const options of [{}, { windowBits: 9 }, { windowBits: 12 }, { level: 0 }]) {
        assertDecodes(deflateRawSync(content, options), content, 'deflate')
      }
    }
  }
})

test('deflate: a match may reach back 32 KiB', () => {
  const far = noise(32 * KiB - 300, 3)
  const content = Buffer.concat([far, far, far]).subarray(0, 64 * KiB)
  const stream = deflateRawSync(content, { windowBits: 15 })
  assert.ok(stream.length < 40 * KiB)
  assertDecodes(stream, content, 'deflate')
})

test('deflate: blocks that give nothing may follow the last byte', () => {
  for (const size of CLUSTER_SIZES) {
    const content = texty(size, 4)
    const flushed = deflateRawSync(content, { finishFlush: constants.Z_FULL_FLUSH })
    const emptyLastBlock = Uint8Array.of(3, 0)
    assertDecodes(Buffer.concat([flushed, emptyLastBlock]), content, 'deflate')
    assertBad(flushed, size, 'deflate')
  }
})

test('deflate: less, more, cut, wrapped or broken is refused', () => {
  for (const size of CLUSTER_SIZES) {
    const content = texty(size, 5)
    const stream = deflateRawSync(content)
    assertBad(deflateRawSync(content.subarray(1)), size, 'deflate')
    assertBad(deflateRawSync(Buffer.concat([content, rest.subarray(0, 1)])), size, 'deflate')
    assertBad(deflateRawSync(new Uint8Array(0)), size, 'deflate')
    assertBad(new Uint8Array(600).fill(0xff), size, 'deflate')
    assertBad(deflateSync(content), size, 'deflate')
    assertBad(zstd(content), size, 'deflate')
    for (const length of [1, stream.length >> 1, stream.length - 1]) {
      assertBad(stream.subarray(0, length), size, 'deflate')
    }
  }
})

test('deflate: a bomb costs one cluster', () => {
  const bomb = deflateRawSync(new Uint8Array(64 * MiB))
  const before = process.memoryUsage().arrayBuffers
  assertBad(bomb, 64 * KiB, 'deflate')
  assert.ok(process.memoryUsage().arrayBuffers - before < MiB)
})

/** A frame made by hand. */
function frame(
  blocks: ReadonlyArray<readonly [type: number, size: number, content: Uint8Array]>,
  { flags = 0, header = [0x58] }: { flags?: number; header?: number[] } = {},
): Uint8Array {
  const parts = blocks.map(([type, size, content], index) => {
    const word = (index === blocks.length - 1 ? 1 : 0) | (type << 1) | (size << 3)
    return Buffer.concat([Uint8Array.of(word, word >>> 8, word >>> 16), content])
  })
  return Buffer.concat([Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, flags, ...header), ...parts])
}

function skippable(length: number, nibble = 0): Uint8Array {
  return Buffer.concat([Uint8Array.of(0x50 | nibble, 0x2a, 0x4d, 0x18, length, 0, 0, 0), noise(length, 7)])
}

const byte = Uint8Array.of(0x42)

test('zstd: frames of every kind give one cluster and their exact length', () => {
  for (const size of CLUSTER_SIZES) {
    for (const content of [new Uint8Array(size), texty(size, 1), noise(size, 2)]) {
      for (const params of [
        {},
        { [constants.ZSTD_c_checksumFlag]: 1 },
        { [constants.ZSTD_c_contentSizeFlag]: 0 },
        { [constants.ZSTD_c_compressionLevel]: 19, [constants.ZSTD_c_windowLog]: 10 },
      ]) {
        assertDecodes(zstd(content, params), content, 'zstd')
      }
    }
  }
})

test('zstd: several frames, also skippable and empty ones, may fill a cluster', () => {
  const content = texty(64 * KiB, 8)
  const parts = [content.subarray(0, 7), content.subarray(7, 30_000), content.subarray(30_000)]
  const empty = frame([[0, 0, new Uint8Array(0)]])
  const stream = parts.flatMap((part, index) => [skippable(index, index), empty, zstd(part)])
  assertDecodes(Buffer.concat(stream), content, 'zstd')
  assertDecodes(frame([[1, 64 * KiB, byte]]), new Uint8Array(64 * KiB).fill(0x42), 'zstd')
})

test('zstd: less, more, cut or broken is refused', () => {
  for (const size of CLUSTER_SIZES) {
    const content = texty(size, 5)
    const stream = zstd(content, { [constants.ZSTD_c_checksumFlag]: 1 })
    assertBad(zstd(content.subarray(1)), size, 'zstd')
    assertBad(Buffer.concat([zstd(content.subarray(1)), rest]), size, 'zstd')
    assertBad(zstd(Buffer.concat([content, byte])), size, 'zstd')
    assertBad(Buffer.concat([zstd(content.subarray(9)), zstd(content.subarray(0, 10))]), size, 'zstd')
    assertBad(new Uint8Array(600).fill(0xff), size, 'zstd')
    assertBad(deflateRawSync(content), size, 'zstd')
    assertBad(skippable(100), size, 'zstd')
    for (let length = 1; length < stream.length; length += Math.ceil(stream.length / 40)) {
      assertBad(stream.subarray(0, length), size, 'zstd')
    }
    const wrong = Buffer.from(stream)
    wrong[stream.length - 1] = (wrong[stream.length - 1] ?? 0) ^ 1
    assertBad(wrong, size, 'zstd')
  }
})

test('zstd: a skippable frame longer than the input is refused', () => {
  const long = skippable(4)
  new DataView(long.buffer, long.byteOffset).setUint32(4, 2 ** 32 - 1, true)
  assertBad(Buffer.concat([long, zstd(texty(512, 1))]), 512, 'zstd')
})

test('zstd: the window is limited to 8 MiB, also that of a single segment', () => {
  const blocks = [[1, 64 * KiB, byte]] as const
  assertDecodes(frame(blocks, { header: [13 << 3] }), new Uint8Array(64 * KiB).fill(0x42), 'zstd')
  for (const descriptor of [(13 << 3) | 1, 14 << 3, 0xff]) {
    assertBad(frame(blocks, { header: [descriptor] }), 64 * KiB, 'zstd')
  }
  assertBad(frame(blocks, { flags: 0x80, header: [0x58, 0xff, 0xff, 0xff, 0xff] }), 64 * KiB, 'zstd')
  assertBad(frame(blocks, { flags: 0xe0, header: new Array(8).fill(0xff) }), 64 * KiB, 'zstd')
  assertBad(frame(blocks, { flags: 0xa0, header: [1, 0, 0x80, 0] }), 64 * KiB, 'zstd')
})

test('zstd: dictionaries, reserved bits, reserved and oversized blocks are refused', () => {
  assertBad(frame([[1, 64 * KiB, byte]], { flags: 1, header: [0x58, 7] }), 64 * KiB, 'zstd')
  assertDecodes(
    frame([[1, 512, byte]], { flags: 1, header: [0x58, 0] }),
    new Uint8Array(512).fill(0x42),
    'zstd',
  )
  assertBad(frame([[1, 64 * KiB, byte]], { flags: 8 }), 64 * KiB, 'zstd')
  assertBad(frame([[3, 1, byte]]), 64 * KiB, 'zstd')
  assertBad(frame([[1, 128 * KiB + 1, byte]]), 2 * MiB, 'zstd')
  assertBad(frame([[1, 1025, byte]], { header: [0] }), 4 * KiB, 'zstd')
})

test('zstd: bombs of repeated bytes and of frames cost little', async () => {
  const bomb = frame(new Array(2048).fill([1, 128 * KiB, byte]))
  const before = process.memoryUsage().arrayBuffers
  assertBad(bomb, 64 * KiB, 'zstd')
  assert.ok(process.memoryUsage().arrayBuffers - before < MiB)
  const frames = Buffer.concat(new Array(400_000).fill(frame([[0, 0, new Uint8Array(0)]])))
  await assertQuick(500, async () => assertBad(frames, 2 * MiB, 'zstd'))
})

test('decodeCluster: no input at all means that the file ended before', () => {
  for (const compression of ['deflate', 'zstd'] as const) {
    assert.throws(() => decode(new Uint8Array(0), 512, compression), { category: 'truncated' })
  }
})
