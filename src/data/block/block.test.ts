import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { createRandom, shapedBytes } from '#data/codec/codec.fixtures.ts'
import { createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { needs } from '../../../test/support/tools.ts'
import {
  BLOCK_SIZE,
  blockCount,
  blockLength,
  decodeBlock,
  decodeStored,
  decodeUnknown,
  digestOf,
  encodeBlock,
  maxStoredSize,
  storedZeroBlock,
  verifyStored,
} from './block.ts'

const SOURCE = 64 * 1024
const TARGET = 2 * MiB
const TABLE = 2048
const codec = openCodec(createCodecMemory(4 * MiB))
const seed = randomInt(2 ** 31)

function encode(plain: Uint8Array): Uint8Array {
  codec.bytes.set(plain, SOURCE)
  const length = encodeBlock(codec, { source: SOURCE, length: plain.length, target: TARGET, table: TABLE })
  return codec.bytes.slice(TARGET, TARGET + length)
}

const isCorrupt = (error: unknown) => error instanceof LibraryError && error.code === 'corrupt'

test('blocks: a disk is cut at every mebibyte', () => {
  assert.deepEqual([0, 1, MiB, MiB + 1, 1024 * MiB].map(blockCount), [0, 1, 1, 2, 1024])
  assert.equal(blockLength(MiB + 5, 0), MiB)
  assert.equal(blockLength(MiB + 5, 1), 5)
})

test('block at rest: comes back, whatever its bytes and length', () => {
  const random = createRandom(seed)
  for (let round = 0; round < 300; round++) {
    const plain = shapedBytes(random, 1 + random.below(round % 20 === 0 ? BLOCK_SIZE : 5000))
    const stored = encode(plain)
    const where = `seed ${seed} round ${round}`
    assert.ok(stored.length <= maxStoredSize(plain.length), where)
    verifyStored(stored)
    assert.deepEqual(Buffer.from(decodeStored(stored, plain.length)), Buffer.from(plain), where)
    codec.bytes.set(stored, SOURCE)
    const place = { source: SOURCE, storedLength: stored.length, target: TARGET, length: plain.length }
    decodeBlock(codec, place)
    assert.equal(digestOf(codec.bytes.subarray(TARGET, TARGET + plain.length)), digestOf(plain), where)
  }
})

test('block at rest: what LZ4 does not shrink is kept plain and marked', () => {
  const plain = createRandom(seed).bytes(BLOCK_SIZE)
  const stored = Buffer.from(encode(plain))
  assert.equal(stored.length, BLOCK_SIZE + 8)
  assert.equal(stored.readUInt32LE(0), 0x80000000 + BLOCK_SIZE)
  assert.ok(stored.subarray(4, 4 + BLOCK_SIZE).equals(plain))
})

test('block at rest: any flipped byte is noticed without decoding', () => {
  const random = createRandom(seed)
  const stored = encode(shapedBytes(random, 3000))
  verifyStored(stored, 3000)
  for (let round = 0; round < 500; round++) {
    const bad = Uint8Array.from(stored)
    const at = random.below(bad.length)
    bad[at] = (bad[at] ?? 0) ^ (1 << random.below(8))
    assert.throws(() => verifyStored(bad, 3000), isCorrupt, `seed ${seed} round ${round} byte ${at}`)
  }
})

test('block at rest: wrong lengths are refused before anything is decoded', () => {
  const stored = encode(new Uint8Array(3000).fill(7))
  const long = new Uint8Array(BLOCK_SIZE + 9)
  for (const bad of [
    stored.subarray(0, 8),
    stored.subarray(1),
    stored.subarray(0, -1),
    new Uint8Array(0),
    long,
  ]) {
    assert.throws(() => verifyStored(bad), isCorrupt)
    assert.throws(() => decodeStored(bad, 3000), isCorrupt)
  }
  assert.throws(() => decodeStored(stored, 2999), isCorrupt)
  assert.throws(() => decodeStored(stored, 3001), isCorrupt)
})

test('block at rest: a plain payload of another length than the block is refused', () => {
  const stored = encode(createRandom(seed).bytes(100))
  assert.throws(() => decodeStored(stored, 99), isCorrupt)
  assert.throws(() => decodeStored(stored, 101), isCorrupt)
})

test('zero block: its encoding is constant and is what the encoder writes', () => {
  for (const length of [BLOCK_SIZE, 1, 12, 13, 4096, BLOCK_SIZE - 1, BLOCK_SIZE]) {
    const stored = storedZeroBlock(length)
    assert.deepEqual(Buffer.from(stored), Buffer.from(encode(new Uint8Array(length))), `${length} bytes`)
    assert.ok(decodeStored(stored, length).every((byte) => byte === 0))
    assert.equal(storedZeroBlock(length), stored)
  }
  // Manifests count on it, so these may never change.
  assert.equal(storedZeroBlock(BLOCK_SIZE).length, 4130)
  assert.equal(
    digestOf(storedZeroBlock(BLOCK_SIZE)),
    'b6980b6fc1e551f40ff7f9056bb61e14a3c49f48ddde76b8bfc3252111d55c6e',
  )
})

test('blocks at rest: one behind the other they are an LZ4 frame', needs('lz4'), () => {
  const random = createRandom(seed)
  const pieces = [
    shapedBytes(random, BLOCK_SIZE),
    new Uint8Array(BLOCK_SIZE),
    random.bytes(BLOCK_SIZE),
    shapedBytes(random, 1 + random.below(BLOCK_SIZE)),
  ]
  const plain = Buffer.concat(pieces)
  const header = Buffer.alloc(15)
  header.writeUInt32LE(0x184d2204, 0)
  // Version 01, independent blocks, block checksums, content size; blocks of at most 1 MiB.
  header.set([0x78, 0x60], 4)
  header.writeBigUInt64LE(BigInt(plain.length), 6)
  codec.bytes.set(header.subarray(4, 14), SOURCE)
  header[14] = (codec.xxh32(SOURCE, 10, 0) >>> 8) & 255
  const blocks = pieces.map((piece) =>
    piece.every((byte) => byte === 0) ? storedZeroBlock(piece.length) : encode(piece),
  )
  const frame = Buffer.concat([header, ...blocks, Buffer.alloc(4)])
  const decoded = spawnSync('lz4', ['-dc'], { input: frame, maxBuffer: 8 * MiB })
  assert.equal(decoded.status, 0, `seed ${seed}: ${decoded.stderr}`)
  assert.ok(plain.equals(decoded.stdout), `seed ${seed}`)
  assert.equal(spawnSync('lz4', ['-t'], { input: frame }).status, 0)
})

test('block at rest: decodes where nobody knows its length, and never to something else', () => {
  const random = createRandom(seed)
  for (const length of [1, 2, 511, 4096, 5000, BLOCK_SIZE - 1, BLOCK_SIZE]) {
    const plain = shapedBytes(random, length)
    assert.deepEqual(Buffer.from(decodeUnknown(encode(plain))), Buffer.from(plain), `seed ${seed}`)
  }
  assert.equal(decodeUnknown(storedZeroBlock(BLOCK_SIZE)).length, BLOCK_SIZE)
  const plainPayload = encode(random.bytes(100))
  plainPayload[3] = 0
  assert.throws(() => decodeUnknown(plainPayload), isCorrupt)
  assert.throws(() => decodeUnknown(new Uint8Array(8)), isCorrupt)
  assert.throws(() => decodeUnknown(new Uint8Array(BLOCK_SIZE + 9)), isCorrupt)
})
