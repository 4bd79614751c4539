import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { needs } from '../../../test/support/tools.ts'
import { buildCodec } from '../../../tools/build-codec.ts'
import { createRandom, type Random, shapedBytes } from './codec.fixtures.ts'
import { COMPRESS_TABLE_SIZE, createCodecMemory, openCodec, XXH32_STATE_SIZE } from './codec.ts'

const MiB = 1024 * 1024
const SOURCE = 64 * 1024
const TARGET = 8 * MiB
const PACKED = 4 * MiB
const TABLE = 2048
const STATE = 40_000
const codec = openCodec(createCodecMemory(16 * MiB))
const { bytes } = codec
const seed = randomInt(2 ** 31)

const bound = (length: number) => length + Math.ceil(length / 255) + 16

function compress(plain: Uint8Array, capacity = bound(plain.length)): Uint8Array | undefined {
  bytes.set(plain, SOURCE)
  const length = codec.compress(SOURCE, plain.length, PACKED, capacity, TABLE)
  return length === 0 ? undefined : Buffer.from(bytes.slice(PACKED, PACKED + length))
}

function decompress(packed: Uint8Array, capacity: number): Uint8Array | number {
  bytes.set(packed, PACKED)
  const length = codec.decompress(PACKED, packed.length, TARGET, capacity, TARGET)
  return length < 0 ? length : Buffer.from(bytes.slice(TARGET, TARGET + length))
}

function xxh32(data: Uint8Array, start = 0): number {
  bytes.set(data, SOURCE)
  return codec.xxh32(SOURCE, data.length, start)
}

function le32(value: number): Uint8Array {
  const word = Buffer.alloc(4)
  word.writeUInt32LE(value >>> 0)
  return word
}

/** An LZ4 frame of 1 MiB blocks with block and content checksums, written by hand (lz4_Frame_format.md). */
function frame(blocks: readonly Uint8Array[], plain: Uint8Array): Uint8Array {
  const descriptor = Uint8Array.of(0x74, 0x60)
  const parts = [le32(0x184d2204), descriptor, Uint8Array.of((xxh32(descriptor) >>> 8) & 255)]
  for (const block of blocks) parts.push(le32(block.length), block, le32(xxh32(block)))
  parts.push(le32(0), le32(xxh32(plain)))
  return Buffer.concat(parts)
}

test('codec.wasm: the committed file is what its source gives', async () => {
  const committed = readFileSync(new URL('./codec.wasm', import.meta.url))
  assert.deepEqual(Buffer.from(await buildCodec('codec')), committed, 'run "npm run codec"')
})

test('lz4: blocks of every shape come back', () => {
  const random = createRandom(seed)
  for (let round = 0; round < 1500; round++) {
    const plain = shapedBytes(random, random.below(random.chance(0.1) ? 300_000 : 5000))
    const packed = compress(plain)
    assert.ok(packed, `seed ${seed} round ${round}: did not fit its bound`)
    assert.deepEqual(decompress(packed, plain.length), Buffer.from(plain), `seed ${seed} round ${round}`)
  }
})

test('lz4: a block is refused exactly where it does not fit, and nothing is written past its capacity', () => {
  const random = createRandom(seed)
  for (let round = 0; round < 600; round++) {
    const plain = shapedBytes(random, 1 + random.below(3000))
    const full = compress(plain)!
    const capacity = random.below(full.length + 20)
    bytes.fill(0xa5, PACKED + capacity, PACKED + capacity + 64)
    const packed = compress(plain, capacity)
    const guard = bytes.subarray(PACKED + capacity, PACKED + capacity + 64)
    assert.ok(
      guard.every((byte) => byte === 0xa5),
      `seed ${seed} round ${round}: wrote past ${capacity}`,
    )
    const expected = capacity >= full.length ? full : undefined
    assert.deepEqual(packed, expected, `seed ${seed} round ${round}: ${full.length} in ${capacity}`)
  }
})

/** Corrupts a block in one of the ways that storage and strangers do. */
function mutate(random: Random, packed: Uint8Array): Uint8Array {
  const copy = Buffer.from(packed)
  const times = 1 + random.below(4)
  for (let i = 0; i < times; i++)
    copy[random.below(copy.length)] = random.chance(0.3) ? 255 : random.below(256)
  if (random.chance(0.3)) return copy.subarray(0, random.below(copy.length))
  if (random.chance(0.2)) return Buffer.concat([copy, Buffer.alloc(random.below(40), random.below(256))])
  return copy
}

test('lz4: corrupt blocks never write outside the target', () => {
  const random = createRandom(seed)
  const guard = 256
  for (let round = 0; round < 4000; round++) {
    const plain = shapedBytes(random, 1 + random.below(2000))
    const bad = mutate(random, random.chance(0.1) ? random.bytes(1 + random.below(200)) : compress(plain)!)
    const capacity = random.below(plain.length + 100)
    // At the very start and end of the memory a stray access would wrap or trap.
    const target = random.chance(0.3) ? bytes.length - capacity : TARGET
    bytes.fill(0x5a, target - guard, target)
    bytes.fill(0x5a, target + capacity, target + capacity + guard)
    bytes.set(bad, PACKED)
    const length = codec.decompress(PACKED, bad.length, target, capacity, target)
    const where = `seed ${seed} round ${round}`
    assert.ok(length <= capacity, where)
    const around = [
      ...bytes.subarray(target - guard, target),
      ...bytes.subarray(target + capacity, target + capacity + guard),
    ]
    assert.ok(
      around.every((byte) => byte === 0x5a),
      `${where}: wrote outside the target`,
    )
  }
})

test('lz4: what a block decodes to does not depend on the memory around it', () => {
  const random = createRandom(seed)
  for (let round = 0; round < 2000; round++) {
    const plain = shapedBytes(random, 1 + random.below(2000))
    const bad = mutate(random, compress(plain)!)
    const results = [0x00, 0xff].map((fill) => {
      bytes.fill(fill, TARGET - 70_000, TARGET + 4096)
      bytes.fill(fill, PACKED + bad.length, PACKED + bad.length + 4096)
      return decompress(bad, 2100)
    })
    assert.deepEqual(results[0], results[1], `seed ${seed} round ${round}: read outside source or target`)
  }
})

const CORRUPT: ReadonlyArray<readonly [string, readonly number[]]> = [
  ['no bytes', []],
  ['a token without its literals', [0x50]],
  ['literals cut short', [0x50, 1, 2]],
  ['an offset cut short', [0x10, 1, 1]],
  ['offset 0', [0x10, 1, 0, 0, 0x00]],
  ['an offset before the target', [0x10, 1, 2, 0, 0x00]],
  ['offset 65535 from the first byte', [0x10, 1, 255, 255, 0x00]],
  ['a match at the end', [0x14, 1, 1, 0]],
  ['a literal length without an end', [0xf0, 255, 255]],
  ['a match length without an end', [0x1f, 1, 1, 0, 255]],
  ['a match longer than the capacity', [0x1f, 1, 1, 0, 255, 255, 255, 255, 255, 0, 0x00]],
]

for (const [name, block] of CORRUPT) {
  test(`lz4: a block with ${name} is refused`, () => {
    assert.equal(typeof decompress(Uint8Array.from(block), 1000), 'number')
  })
}

test('lz4: a far offset at the lowest address does not wrap', () => {
  const source = Uint8Array.from([0x10, 1, 255, 255, ...new Array(40).fill(0)])
  bytes.set(source, PACKED)
  assert.ok(codec.decompress(PACKED, source.length, 1024, 1000, 1024) < 0)
})

test('lz4: runs of 255 longer than 32 bits can count are refused', () => {
  const big = openCodec(createCodecMemory(24 * MiB))
  big.bytes.fill(255, 65536, 65536 + 17 * MiB)
  for (const head of [[0xff], [0x1f, 1, 1, 0]]) {
    big.bytes.set(head, 65536)
    assert.ok(big.decompress(65536, 17 * MiB, 20 * MiB, MiB, 20 * MiB) < 0)
  }
})

test('lz4: a match reaches into the history and no further', () => {
  bytes.set([7, 8, 9, 10], TARGET - 4)
  bytes.set([0x00, 4, 0, 0x10, 1], PACKED)
  assert.equal(codec.decompress(PACKED, 5, TARGET, 5, TARGET - 4), 5)
  assert.deepEqual([...bytes.subarray(TARGET, TARGET + 5)], [7, 8, 9, 10, 1])
  assert.ok(codec.decompress(PACKED, 5, TARGET, 5, TARGET - 3) < 0)
})

test('lz4: the lz4 tool opens what we encode, and we open what it writes', needs('lz4'), () => {
  const random = createRandom(seed)
  for (let round = 0; round < 12; round++) {
    const pieces = Array.from({ length: 1 + random.below(4) }, () =>
      shapedBytes(random, random.below(MiB) + 1),
    )
    const plain = Buffer.concat(pieces)
    const whole = frame(
      pieces.map((piece) => compress(piece)!).filter((block) => block.length < MiB),
      plain,
    )
    const decoded = spawnSync('lz4', ['-dc'], { input: whole, maxBuffer: 32 * MiB })
    const where = `seed ${seed} round ${round}`
    if (pieces.every((piece) => compress(piece)!.length < MiB)) {
      assert.equal(decoded.status, 0, `${where}: ${decoded.stderr}`)
      assert.ok(plain.equals(decoded.stdout), where)
    }
    const piece = pieces[0]!
    const level = random.chance(0.5) ? '-1' : '-9'
    const made = spawnSync('lz4', [level, '-B6', '--no-frame-crc', '-c'], {
      input: piece,
      maxBuffer: 32 * MiB,
    })
    const size = made.stdout.readUInt32LE(7)
    if (size < 2 ** 31) {
      assert.deepEqual(
        decompress(made.stdout.subarray(11, 11 + size), piece.length),
        Buffer.from(piece),
        where,
      )
    }
  }
})

test('lz4: the encoder is the one that wrote every stored block', () => {
  const random = createRandom(20_240_601)
  const hash = createHash('sha256')
  for (let round = 0; round < 200; round++) hash.update(compress(shapedBytes(random, random.below(60_000)))!)
  hash.update(compress(shapedBytes(random, MiB))!)
  // Changing the encoder makes new blocks differ from stored ones: see decisions/0003 before touching this.
  assert.equal(hash.digest('hex'), '34fab510d89fad6dd88a620b2fc0186990334d6fea7e923c4af2b6e3a6c5fb68')
})

test('xxh32: known answers', () => {
  assert.equal(xxh32(Buffer.from('')), 0x02cc5d05)
  assert.equal(xxh32(Buffer.from('abc')), 0x32d153ff)
  assert.equal(xxh32(Buffer.from('Nobody inspects the spammish repetition')), 0xe2293b2f)
  assert.equal(xxh32(Buffer.from(''), 0x9e3779b1), 0x36b78ae7)
})

test('xxh32: in pieces as in one', () => {
  const random = createRandom(seed)
  for (let round = 0; round < 500; round++) {
    const data = random.bytes(random.below(400))
    const start = random.below(2 ** 31)
    const expected = xxh32(data, start)
    codec.xxh32Start(STATE, start)
    for (let offset = 0; offset < data.length; ) {
      const length = Math.min(random.below(50), data.length - offset)
      codec.xxh32Update(STATE, SOURCE + offset, length)
      codec.xxh32Finish(STATE)
      offset += length
    }
    assert.equal(codec.xxh32Finish(STATE), expected, `seed ${seed} round ${round}`)
  }
})

test('isZero: one bit anywhere is seen, and none outside', () => {
  const random = createRandom(seed)
  for (let round = 0; round < 1000; round++) {
    const address = SOURCE + random.below(70)
    const length = random.below(500)
    bytes.fill(0, SOURCE - 1, SOURCE + 700)
    bytes[address - 1] = 1
    bytes[address + length] = 1
    assert.ok(codec.isZero(address, length), `seed ${seed} round ${round}`)
    if (length === 0) continue
    bytes[address + random.below(length)] = 1 << random.below(8)
    assert.ok(!codec.isZero(address, length), `seed ${seed} round ${round}`)
  }
})

test('codec: ranges outside the memory throw before they reach WebAssembly', () => {
  const end = bytes.length
  assert.throws(() => codec.isZero(1023, 1), /internal error/)
  assert.throws(() => codec.isZero(end, 1), /internal error/)
  assert.throws(() => codec.xxh32(2048, -1, 0), /internal error/)
  assert.throws(() => codec.xxh32(2048.5, 1, 0), /internal error/)
  assert.throws(() => codec.compress(SOURCE, 10, PACKED, 10, end - COMPRESS_TABLE_SIZE + 1), /internal error/)
  assert.throws(() => codec.decompress(SOURCE, 10, TARGET, 10, TARGET + 1), /internal error/)
  assert.throws(() => codec.xxh32Start(end - XXH32_STATE_SIZE + 1, 0), /internal error/)
  assert.throws(() => createCodecMemory(2 ** 31), /internal error/)
})
