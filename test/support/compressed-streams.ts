/** Writes compressed streams byte by byte, so that any field of them can be wrong; and reads decoders in tests. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { crc32, deflateRawSync } from 'node:zlib'
import type { ByteStream } from '#base/bytes.ts'
import { MiB, TiB } from '#base/bytes.ts'
import { Refusal, type RefusalCategory } from '#base/refusal.ts'
import { createCodecMemory, openCodec } from '#data/codec/codec.ts'
import type { DecodeOptions } from '#data/format/decode-options.ts'
import { createRandom, fillLikeDisk } from './random-disk.ts'
import { isInstalled } from './tools.ts'

export const OPTIONS: DecodeOptions = { limit: 1 * TiB, xzDictionary: 64 * MiB, zstdWindow: 128 * MiB }

export type Decode = (input: ByteStream, options: DecodeOptions) => AsyncGenerator<Uint8Array, void, void>

/** Bytes like those of a disk; the same numbers give the same bytes. */
export function diskBytes(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  fillLikeDisk(bytes, createRandom(seed))
  return bytes
}

/** What a tool writes to its output for this input. */
export function runTool(command: string, input: Uint8Array): Buffer {
  const [program = '', ...args] = command.split(' ')
  const { status, stdout, stderr } = spawnSync(program, args, { input, maxBuffer: 1 << 30 })
  assert.equal(status, 0, `${command}: ${stderr}`)
  return stdout
}

/** A stream of these bytes in chunks of the size given, whose memory is used again for each. */
export async function* inChunks(
  bytes: Uint8Array,
  size: number | (() => number),
): AsyncGenerator<Uint8Array> {
  const next = typeof size === 'number' ? () => size : size
  const memory = new Uint8Array(1 << 20)
  for (let at = 0; at < bytes.length; ) {
    const chunk = memory.subarray(0, Math.max(1, Math.min(next(), memory.length, bytes.length - at)))
    chunk.set(bytes.subarray(at, at + chunk.length))
    at += chunk.length
    yield chunk
    memory.fill(0xee, 0, chunk.length)
  }
}

/** Sizes of chunks, small and large. */
export function randomSizes(seed: number): () => number {
  const random = createRandom(seed)
  return () => 1 + Math.floor(random() ** 4 * 100_000)
}

export async function readAll(
  decode: Decode,
  bytes: Uint8Array,
  options: Partial<DecodeOptions> = {},
): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of decode(inChunks(bytes, 65_536), { ...OPTIONS, ...options })) {
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks)
}

/** Checks that decoding ends in a refusal of one of these categories, whole or byte by byte. */
export async function assertRefused(
  decode: Decode,
  bytes: Uint8Array,
  category: RefusalCategory,
  options: Partial<DecodeOptions> = {},
): Promise<void> {
  for (const size of bytes.length > 20_000 ? [65_536] : [65_536, 7]) {
    let decoded = 0
    try {
      for await (const chunk of decode(inChunks(bytes, size), { ...OPTIONS, ...options }))
        decoded += chunk.length
    } catch (error) {
      assert.ok(error instanceof Refusal, String((error as Error).stack))
      assert.equal(error.category, category, error.message)
      assert.ok(decoded <= (options.limit ?? OPTIONS.limit), 'no more is handed out than the limit')
      continue
    }
    assert.fail(`decoded ${decoded} bytes instead of refusing as ${category}`)
  }
}

/** Checks that the file cut anywhere is `truncated`, but for the places where a file may end. */
export async function assertTruncatedAnywhere(
  decode: Decode,
  bytes: Uint8Array,
  { from, ends = [], step = 1 }: { from: number; ends?: readonly number[]; step?: number },
): Promise<void> {
  for (let length = from; length < bytes.length; length += step) {
    if (!ends.includes(length)) await assertRefused(decode, bytes.subarray(0, length), 'truncated')
  }
}

/** Checks that a file with a random byte changed gives the same content or a refusal, never other content. */
export async function assertDamageFound(
  decode: Decode,
  bytes: Uint8Array,
  plain: Uint8Array,
  { seed, rounds }: { seed: number; rounds: number },
): Promise<void> {
  const random = createRandom(seed)
  for (let round = 0; round < rounds; round++) {
    const changed = Buffer.from(bytes)
    const at = Math.floor(random() * changed.length)
    changed[at] = changed[at]! ^ (1 << Math.floor(random() * 8))
    try {
      const got = await readAll(decode, changed)
      assert.ok(got.equals(plain), `seed ${seed}, byte ${at}: other content was handed out`)
    } catch (error) {
      assert.ok(error instanceof Refusal, `seed ${seed}, byte ${at}: ${(error as Error).stack}`)
    }
  }
}

export const le16 = (value: number) => Buffer.from([value & 255, (value >> 8) & 255])
export function le32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}
export function le64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

export const skippable = (body: Uint8Array, nibble = 0, size = body.length) =>
  Buffer.concat([le32(0x184d2a50 + nibble), le32(size), body])

// ---------------------------------------------------------------- lz4

const codec = openCodec(createCodecMemory(20 * MiB))

export function xxh32(bytes: Uint8Array): number {
  codec.bytes.set(bytes, 4096)
  return codec.xxh32(4096, bytes.length, 0)
}

/** A block of nothing but literals. */
export function lz4Literals(bytes: Uint8Array): Buffer {
  if (bytes.length < 15) return Buffer.concat([Buffer.from([bytes.length << 4]), bytes])
  const rest = bytes.length - 15
  const lengths = [...Array<number>(Math.floor(rest / 255)).fill(255), rest % 255]
  return Buffer.concat([Buffer.from([0xf0, ...lengths]), bytes])
}

/** A block that decodes to `length` equal bytes, at least 32. */
export function lz4Run(length: number, byte = 0): Buffer {
  const rest = length - 1 - 5 - 4 - 15
  const lengths = [...Array<number>(Math.floor(rest / 255)).fill(255), rest % 255]
  return Buffer.concat([Buffer.from([0x1f, byte, 1, 0, ...lengths, 0x50]), Buffer.alloc(5, byte)])
}

export interface Lz4Frame {
  flags?: number
  blockCode?: number
  size?: bigint
  dictionary?: number
  /** Compressed blocks, or stored ones with the size word as given. */
  blocks: readonly (Uint8Array | { word: number; body: Uint8Array })[]
  /** Added to what is right. */
  headerChecksumOff?: number
  blockChecksumOff?: number
  contentChecksum?: number
  end?: boolean
}

export const lz4Stored = (body: Uint8Array) => ({ word: (body.length | 0x80000000) >>> 0, body })

export function lz4Frame(frame: Lz4Frame): Buffer {
  const { size, dictionary, blockChecksumOff, contentChecksum } = frame
  const flags =
    (frame.flags ?? 0x60) |
    (size === undefined ? 0 : 0x08) |
    (dictionary === undefined ? 0 : 0x01) |
    (blockChecksumOff === undefined ? 0 : 0x10) |
    (contentChecksum === undefined ? 0 : 0x04)
  const header = Buffer.concat([
    Buffer.from([flags, frame.blockCode ?? 0x40]),
    size === undefined ? Buffer.alloc(0) : le64(size),
    dictionary === undefined ? Buffer.alloc(0) : le32(dictionary),
  ])
  const parts = [
    le32(0x184d2204),
    header,
    Buffer.from([((xxh32(header) >> 8) + (frame.headerChecksumOff ?? 0)) & 255]),
  ]
  for (const block of frame.blocks) {
    const { word, body } = block instanceof Uint8Array ? { word: block.length, body: block } : block
    parts.push(le32(word), Buffer.from(body))
    if (blockChecksumOff !== undefined) parts.push(le32(xxh32(body) + blockChecksumOff))
  }
  if (frame.end ?? true) parts.push(le32(0))
  if (contentChecksum !== undefined) parts.push(le32(contentChecksum))
  return Buffer.concat(parts)
}

export const LZ4_LEGACY = le32(0x184c2102)

// ---------------------------------------------------------------- xz

/** An integer as xz writes it, for values that a number cannot hold too. */
export function xzInteger(value: number | bigint): Buffer {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

/** LZMA2 data of stored chunks. */
export function lzma2Stored(bytes: Uint8Array): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 65_536) {
    const part = bytes.subarray(at, at + 65_536)
    parts.push(
      Buffer.from([at === 0 ? 1 : 2, (part.length - 1) >> 8, (part.length - 1) & 255]),
      Buffer.from(part),
    )
  }
  return Buffer.concat([...parts, Buffer.from([0])])
}

/** LZMA2 data by the xz program; nothing is compressed where there is none, and tests that mind say so by `needs`. */
export const lzma2 = (bytes: Uint8Array) =>
  isInstalled('xz') ? runTool('xz --format=raw --lzma2=preset=1,dict=1MiB -c', bytes) : lzma2Stored(bytes)

export interface XzBlockSpec {
  data: Uint8Array
  plain: Uint8Array
}

export interface XzSpec {
  check?: number
  blocks: readonly XzBlockSpec[]
  headerFlags?: readonly number[]
  footerFlags?: readonly number[]
  dictionaryCode?: number
  filters?: readonly (readonly [number | bigint, readonly number[]])[]
  blockFlags?: number
  /** Fields of the block header: true for what is right. */
  compressedSize?: true | Uint8Array
  uncompressedSize?: true | Uint8Array
  extraHeader?: Uint8Array
  padding?: number
  checkBytes?: Uint8Array
  index?: (records: (readonly [number, number])[]) => (readonly [number | bigint, number | bigint])[]
  count?: number | bigint
  backward?: number
  footerMagic?: string
  /** Names the CRC-32 that is to be wrong. */
  wrongCrc?: 'header' | 'block' | 'index' | 'footer'
}

function checkOf(check: number, plain: Uint8Array): Buffer {
  if (check === 0) return Buffer.alloc(0)
  if (check === 10) return createHash('sha256').update(plain).digest()
  if (check === 4) return le64(crc64(plain))
  return le32(crc32(plain))
}

function crc64(bytes: Uint8Array): bigint {
  let crc = 0xffff_ffff_ffff_ffffn
  for (const byte of bytes) {
    crc ^= BigInt(byte)
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0xc96c5795d7870f42n : crc >> 1n
  }
  return crc ^ 0xffff_ffff_ffff_ffffn
}

export function xzStream(spec: XzSpec): Buffer {
  const check = spec.check ?? 1
  const crc = (name: string, bytes: Uint8Array) => le32(crc32(bytes) + (spec.wrongCrc === name ? 1 : 0))
  const flags = Buffer.from(spec.headerFlags ?? [0, check])
  const parts = [Buffer.from('fd377a585a00', 'hex'), flags, crc('header', flags)]
  const records: (readonly [number, number])[] = []
  for (const block of spec.blocks) {
    const { bytes, unpadded } = xzBlock(spec, check, block, crc)
    parts.push(bytes)
    records.push([unpadded, block.plain.length])
  }
  const listed = spec.index?.(records) ?? records
  const fields = Buffer.concat([
    Buffer.from([0]),
    xzInteger(spec.count ?? listed.length),
    ...listed.flat().map((value) => xzInteger(value)),
  ])
  const index = Buffer.concat([fields, Buffer.alloc(-fields.length & 3)])
  const backward = le32(spec.backward ?? (index.length + 4) / 4 - 1)
  const tail = Buffer.concat([backward, Buffer.from(spec.footerFlags ?? flags)])
  parts.push(index, crc('index', index), crc('footer', tail), tail, Buffer.from(spec.footerMagic ?? 'YZ'))
  return Buffer.concat(parts)
}

function xzBlock(
  spec: XzSpec,
  check: number,
  { data, plain }: XzBlockSpec,
  crc: (name: string, bytes: Uint8Array) => Buffer,
): { bytes: Buffer; unpadded: number } {
  const { compressedSize, uncompressedSize } = spec
  const filters = spec.filters ?? [[0x21, [spec.dictionaryCode ?? 16]] as const]
  const body = Buffer.concat([
    Buffer.from([
      (filters.length - 1) |
        (spec.blockFlags ?? 0) |
        (compressedSize ? 0x40 : 0) |
        (uncompressedSize ? 0x80 : 0),
    ]),
    compressedSize === true ? xzInteger(data.length) : (compressedSize ?? Buffer.alloc(0)),
    uncompressedSize === true ? xzInteger(plain.length) : (uncompressedSize ?? Buffer.alloc(0)),
    ...filters.map(([id, properties]) =>
      Buffer.concat([xzInteger(id), xzInteger(properties.length), Buffer.from(properties)]),
    ),
    spec.extraHeader ?? Buffer.alloc(0),
  ])
  const size = Math.ceil((1 + body.length + 4) / 4) * 4
  const header = Buffer.concat([Buffer.from([size / 4 - 1]), body, Buffer.alloc(size - 5 - body.length)])
  const checkBytes = spec.checkBytes ?? checkOf(check, plain)
  const padding = Buffer.alloc(-data.length & 3, spec.padding ?? 0)
  return {
    bytes: Buffer.concat([header, crc('block', header), data, padding, checkBytes]),
    unpadded: size + data.length + checkBytes.length,
  }
}

// ---------------------------------------------------------------- gzip, zstd

export interface GzipSpec {
  plain: Uint8Array
  method?: number
  flags?: number
  fields?: Uint8Array
  /** Adds a header checksum, off by this. */
  headerChecksumOff?: number
  crc?: number
  length?: number
}

export function gzipMember({ plain, method = 8, flags = 0, fields, ...spec }: GzipSpec): Buffer {
  const header = Buffer.concat([
    Buffer.from([
      0x1f,
      0x8b,
      method,
      flags | (spec.headerChecksumOff === undefined ? 0 : 2),
      0,
      0,
      0,
      0,
      0,
      3,
    ]),
    fields ?? Buffer.alloc(0),
  ])
  const sum =
    spec.headerChecksumOff === undefined ? Buffer.alloc(0) : le16(crc32(header) + spec.headerChecksumOff)
  const trailer = [le32(spec.crc ?? crc32(plain)), le32(spec.length ?? plain.length)]
  return Buffer.concat([header, sum, deflateRawSync(plain), ...trailer])
}

export interface ZstdSpec {
  flags?: number
  /** The window byte; null leaves it out. */
  window?: number | null
  fields?: Uint8Array
  blocks: readonly (readonly [type: number, size: number, body: Uint8Array])[]
  tail?: Uint8Array
}

export function zstdFrame({ flags = 0, window = 0x58, fields, blocks, tail }: ZstdSpec): Buffer {
  const parts: Buffer[] = [
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, flags]),
    Buffer.from(window === null ? [] : [window]),
  ]
  parts.push(Buffer.from(fields ?? []))
  blocks.forEach(([type, size, body], index) => {
    const word = (index === blocks.length - 1 ? 1 : 0) | (type << 1) | (size << 3)
    parts.push(le32(word).subarray(0, 3), Buffer.from(body))
  })
  return Buffer.concat([...parts, Buffer.from(tail ?? [])])
}
