import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { KiB, MiB } from '#base/bytes.ts'
import { needs } from '../../../test/support/tools.ts'
import { buildCodec } from '../../../tools/build-codec.ts'
import { createRandom, type Random, shapedBytes } from './codec.fixtures.ts'
import { borrowLzma2, type Lzma2, MAX_LZMA_DICTIONARY } from './lzma.ts'

const seed = randomInt(2 ** 31)
const tool = needs('xz')
/** The module's own state ends here; everything else in its memory must stay as it is unless it is output. */
const STATE_END = 32 * KiB
/** Input may be read up to here; what lies behind it must not matter. */
const INPUT_END = 160 * KiB + 64
/** A match may be written this far past a chunk's end. */
const SCRATCH = 15

function xz(options: string, plain: Uint8Array): Buffer {
  const { status, stdout, stderr } = spawnSync('xz', ['-q', '-c', ...options.split(' ')], {
    input: plain,
    maxBuffer: 1 << 30,
  })
  assert.equal(status, 0, `xz ${options}: ${stderr}`)
  return stdout
}

const raw = (options: string, plain: Uint8Array) => xz(`--format=raw --lzma2=${options}`, plain)

interface Chunk {
  control: number
  properties: number
  length: number
  body: Uint8Array
}

/** Cuts LZMA2 data that xz made into its chunks. */
function chunksOf(data: Buffer): Chunk[] {
  const chunks: Chunk[] = []
  let properties = 0
  for (let at = 0; data[at] !== 0; ) {
    const control = data[at]!
    if (control < 0x80) {
      const length = data.readUInt16BE(at + 1) + 1
      chunks.push({ control, properties, length, body: data.subarray(at + 3, at + 3 + length) })
      at += 3 + length
      continue
    }
    const length = ((control & 31) << 16) + data.readUInt16BE(at + 1) + 1
    const packed = data.readUInt16BE(at + 3) + 1
    const header = control >= 0xc0 ? 6 : 5
    if (control >= 0xc0) properties = data[at + 5]!
    chunks.push({ control, properties, length, body: data.subarray(at + header, at + header + packed) })
    at += header + packed
  }
  return chunks
}

function feed(decoder: Lzma2, { control, properties, length, body }: Chunk): Uint8Array | undefined {
  if (control === 1 || control >= 0xe0) decoder.resetDictionary()
  if (control < 0x80) {
    const output = decoder.append(length)
    output.set(body)
    return output
  }
  if (control >= 0xa0) decoder.resetState(properties)
  decoder.input(body.length).set(body)
  return decoder.decode(body.length, length)
}

/** Decodes until the end or the first chunk that is damaged. */
function decodeAll(chunks: readonly Chunk[], dictionary: number): { plain: Buffer; damaged: boolean } {
  const decoder = borrowLzma2(dictionary)
  const parts: Buffer[] = []
  try {
    for (const chunk of chunks) {
      const output = feed(decoder, chunk)
      if (output === undefined) return { plain: Buffer.concat(parts), damaged: true }
      parts.push(Buffer.from(output))
    }
    return { plain: Buffer.concat(parts), damaged: false }
  } finally {
    decoder.release()
  }
}

function assertDecodes(data: Buffer, dictionary: number, plain: Uint8Array, what: string): void {
  const got = decodeAll(chunksOf(data), dictionary)
  assert.ok(!got.damaged, `${what}: damaged after ${got.plain.length} bytes`)
  assert.ok(got.plain.equals(plain), `${what}: other bytes`)
}

function shaped(random: Random, length: number): Buffer {
  const parts: Uint8Array[] = []
  for (let left = length; left > 0; ) {
    const part = shapedBytes(random, Math.min(left, 1 + random.below(200_000)))
    parts.push(part)
    left -= part.length
  }
  return Buffer.concat(parts)
}

test('lzma.wasm: the committed file is what its source gives', async () => {
  const committed = readFileSync(new URL('./lzma.wasm', import.meta.url))
  assert.deepEqual(Buffer.from(await buildCodec('lzma')), committed, 'run "npm run codec"')
})

test('lzma: decodes what xz writes with every preset', tool, () => {
  const plain = shaped(createRandom(seed), 700_000)
  for (let preset = 0; preset <= 9; preset++) {
    for (const extreme of ['', 'e']) {
      const data = raw(`preset=${preset}${extreme},dict=1MiB`, plain)
      assertDecodes(data, MiB, plain, `preset ${preset}${extreme}, seed ${seed}`)
    }
  }
})

test('lzma: decodes all properties', tool, () => {
  const plain = shaped(createRandom(seed), 60_000)
  for (let lc = 0; lc <= 4; lc++) {
    for (let lp = 0; lc + lp <= 4; lp++) {
      for (let pb = 0; pb <= 4; pb++) {
        const data = raw(`preset=1,dict=64KiB,lc=${lc},lp=${lp},pb=${pb}`, plain)
        assertDecodes(data, 64 * KiB, plain, `lc ${lc} lp ${lp} pb ${pb}, seed ${seed}`)
      }
    }
  }
})

test('lzma: decodes content of every shape and length', tool, () => {
  const random = createRandom(seed)
  for (let round = 0; round < 60; round++) {
    const plain = shapedBytes(random, 1 + random.below(random.chance(0.2) ? 100_000 : 600))
    assertDecodes(raw('preset=3,dict=4KiB', plain), 4 * KiB, plain, `seed ${seed} round ${round}`)
  }
})

test('lzma: repeats of every short distance and length', tool, () => {
  const random = createRandom(seed)
  const parts: Uint8Array[] = []
  for (let distance = 1; distance <= 40; distance++) {
    for (const length of [2, 3, 8, 15, 16, 17, 31, 32, 33, 100, 273, 1000]) {
      const pattern = random.bytes(distance)
      parts.push(Buffer.alloc(distance + length, pattern))
    }
  }
  const plain = Buffer.concat(parts)
  assertDecodes(raw('preset=6e,dict=1MiB', plain), MiB, plain, `seed ${seed}`)
})

test('lzma: the window moves, and matches still reach as far as the dictionary', tool, () => {
  const random = createRandom(seed)
  for (const [dictionary, name] of [
    [4 * KiB, '4KiB'],
    [MiB, '1MiB'],
  ] as const) {
    const unit = random.bytes(dictionary - 300)
    const parts: Uint8Array[] = []
    for (let length = 0; length < 11 * MiB; length += unit.length + 10) {
      parts.push(unit, random.bytes(10))
      if (random.chance(0.1)) parts.push(new Uint8Array(random.below(100_000)))
    }
    const plain = Buffer.concat(parts)
    assertDecodes(raw(`preset=1,dict=${name}`, plain), dictionary, plain, `${name}, seed ${seed}`)
  }
})

test('lzma: stored chunks are part of the dictionary', tool, () => {
  const random = createRandom(seed)
  const noise = random.bytes(300_000)
  const plain = Buffer.concat([noise, noise.subarray(1000, 90_000), random.bytes(100_000), noise])
  const data = raw('preset=1,dict=1MiB', plain)
  assert.ok(chunksOf(data).some(({ control }) => control < 0x80))
  assertDecodes(data, MiB, plain, `seed ${seed}`)
})

test('lzma: one decoder after the other, each with its own dictionary', tool, () => {
  const random = createRandom(seed)
  const first = borrowLzma2(16 * MiB)
  const second = borrowLzma2(4 * KiB)
  first.release()
  assert.equal(borrowLzma2(4 * KiB), first)
  second.release()
  for (const name of ['64KiB', '24MiB', '4KiB', '1MiB']) {
    const plain = shapedBytes(random, 150_000)
    const dictionary = Number.parseInt(name, 10) * (name.endsWith('MiB') ? MiB : KiB)
    assertDecodes(raw(`preset=0,dict=${name}`, plain), dictionary, plain, `${name}, seed ${seed}`)
  }
})

const text = Buffer.from('the quick brown fox jumps over the lazy dog; '.repeat(400))
const chunkOfText = () => chunksOf(raw('preset=6,dict=64KiB', text))[0]!
const isDamaged = (changes: Partial<Chunk>, dictionary = 64 * KiB) =>
  decodeAll([{ ...chunkOfText(), ...changes }], dictionary).damaged

test('lzma: a chunk must use its bytes up, and give its length, exactly', tool, () => {
  const chunk = chunkOfText()
  assert.ok(!isDamaged({}))
  assert.ok(isDamaged({ body: chunk.body.subarray(0, -1) }))
  assert.ok(isDamaged({ body: Buffer.concat([chunk.body, Buffer.alloc(1)]) }))
  assert.ok(isDamaged({ length: chunk.length - 1 }))
  assert.ok(isDamaged({ length: chunk.length + 1 }))
  for (let length = 1; length < 8; length++) assert.ok(isDamaged({ body: chunk.body.subarray(0, length) }))
})

test('lzma: the first byte is zero', tool, () => {
  const chunk = chunkOfText()
  const body = Buffer.from(chunk.body)
  body[0] = 1
  assert.ok(isDamaged({ body }))
})

test('lzma: a match may not reach past the dictionary', tool, () => {
  const noise = createRandom(seed).bytes(30_000)
  const far = chunksOf(raw('preset=6,dict=64KiB', Buffer.concat([noise, text, noise])))
  assert.ok(!decodeAll(far, 64 * KiB).damaged)
  assert.ok(decodeAll(far, 16 * KiB).damaged)
})

test('lzma: a match may not reach behind the start of the dictionary', tool, () => {
  const decoder = borrowLzma2(64 * KiB)
  const many = chunksOf(raw('preset=0,dict=64KiB', Buffer.concat(Array(200).fill(text))))
  assert.ok(many.length > 1)
  assert.ok(feed(decoder, many[0]!))
  decoder.resetDictionary()
  assert.equal(feed(decoder, many[1]!), undefined)
  decoder.release()
})

test('lzma: an end marker is refused', tool, () => {
  const chunk = chunkOfText()
  const alone = xz('--format=lzma', text)
  const body = alone.subarray(13)
  const properties = alone[0]!
  assert.ok(isDamaged({ properties, body }))
  assert.ok(isDamaged({ properties, body, length: chunk.length + 1 }))
})

/** Decodes with `fill` all around; returns what came out, a copy. */
function decodeAmid(fill: number, { properties, length, body }: Chunk, where: string): Buffer | undefined {
  const decoder = borrowLzma2(4 * KiB)
  const start = decoder.append(1).byteOffset
  decoder.resetDictionary()
  const memory = Buffer.from(decoder.input(1).buffer).subarray(0, start + MiB)
  memory.fill(fill, INPUT_END)
  decoder.resetState(properties)
  decoder.input(body.length).set(body)
  const before = Buffer.from(memory)
  const output = decoder.decode(body.length, length)
  for (const [from, to] of [
    [STATE_END, start],
    [start + length + SCRATCH, memory.length],
  ] as const) {
    assert.equal(memory.compare(before, from, to, from, to), 0, `${where}: wrote outside its output`)
  }
  decoder.release()
  return output && Buffer.from(output)
}

test('lzma: damaged chunks change nothing but their own output, whatever lies around it', tool, () => {
  const random = createRandom(seed)
  const letters = random.bytes(60_000).map((byte) => 97 + (byte & 7))
  const plain = Buffer.concat([letters, text])
  const sources = ['preset=0', 'preset=6', 'preset=3,lc=0,lp=4,pb=4'].map(
    (options) => chunksOf(raw(`${options},dict=64KiB`, plain))[0]!,
  )
  sources.push(chunkOfText(), { control: 0xe0, properties: 93, length: 70_000, body: random.bytes(5000) })
  for (let round = 0; round < 600; round++) {
    const source = sources[random.below(sources.length)]!
    const body = Buffer.from(source.body)
    const last = random.chance(0.5) ? 40 : body.length - 5
    if (random.chance(0.9)) body[5 + random.below(last)] = random.below(256)
    body[0] = 0
    const length = random.chance(0.8) ? source.length : 1 + random.below(200_000)
    const where = `seed ${seed} round ${round}`
    const [one, other] = [0x00, 0xff].map((fill) => decodeAmid(fill, { ...source, body, length }, where))
    assert.deepEqual(one, other, `${where}: read outside its input and output`)
  }
})

/** The definition, bit by bit. */
function slowCrc64(bytes: Uint8Array, start: bigint): bigint {
  const mask = 2n ** 64n - 1n
  let crc = start ^ mask
  for (const byte of bytes) {
    crc ^= BigInt(byte)
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0xc96c5795d7870f42n : crc >> 1n
  }
  return crc ^ mask
}

test('crc64: the known answer, and in pieces as the definition says', () => {
  const random = createRandom(seed)
  const decoder = borrowLzma2(4 * KiB)
  const known = decoder.append(9)
  known.set(Buffer.from('123456789'))
  assert.equal(decoder.crc64(known, 0n), 0x995dc9bbdf1939fan)
  for (let round = 0; round < 200; round++) {
    const bytes = random.bytes(1 + random.below(400))
    const output = decoder.append(bytes.length)
    output.set(bytes)
    const cut = random.below(bytes.length + 1)
    const crc = decoder.crc64(output.subarray(cut), decoder.crc64(output.subarray(0, cut), 0n))
    assert.equal(crc, slowCrc64(bytes, 0n), `seed ${seed} round ${round}`)
  }
  decoder.release()
})

test('lzma: what no header allows throws before it reaches WebAssembly', () => {
  const decoder = borrowLzma2(4 * KiB)
  assert.throws(() => decoder.input(0), /internal error/)
  assert.throws(() => decoder.input(64 * KiB + 1), /internal error/)
  assert.throws(() => decoder.decode(10, 0), /internal error/)
  assert.throws(() => decoder.decode(10, 2 * MiB + 1), /internal error/)
  assert.throws(() => decoder.resetState(225), /internal error/)
  assert.throws(() => decoder.crc64(new Uint8Array(8), 0n), /internal error/)
  assert.throws(() => decoder.start(MAX_LZMA_DICTIONARY + 1), /internal error/)
  decoder.release()
})
