import { hash } from 'node:crypto'
import { MiB } from '#base/bytes.ts'
import { assert, LibraryError } from '#base/errors.ts'
import {
  COMPRESS_TABLE_SIZE,
  type Codec,
  createCodecMemory,
  FIRST_ADDRESS,
  openCodec,
} from '#data/codec/codec.ts'

/** A disk is cut at multiples of this many bytes; its last block may be shorter. */
export const BLOCK_SIZE = MiB
/** The size word before a block's payload, and the XXH32 behind it, bytes each. */
const WORD = 4
/** What a block at rest is longer than its payload, bytes. */
export const FRAMING_SIZE = 2 * WORD
const STORED_PLAIN = 0x80000000

/** How many blocks a disk of `size` bytes is cut into. */
export function blockCount(size: number): number {
  return Math.ceil(size / BLOCK_SIZE)
}

/** Plain bytes of the block at `index` in a disk of `diskSize` bytes. */
export function blockLength(diskSize: number, index: number): number {
  return Math.min(BLOCK_SIZE, diskSize - index * BLOCK_SIZE)
}

/** The most bytes that a block of `length` plain bytes takes at rest. */
export function maxStoredSize(length: number): number {
  return length + FRAMING_SIZE
}

/** A block's name: the SHA-256 of its plain bytes, 64 hex digits. */
export function digestOf(plain: Uint8Array): string {
  return hash('sha256', plain, 'hex')
}

function readWord(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + offset, WORD).getUint32(0, true)
}

function writeWord(bytes: Uint8Array, offset: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset + offset, WORD).setUint32(0, value, true)
}

/**
 * Writes a block as it rests: le32 size word, payload, le32 XXH32 of the payload; the payload is an LZ4 block, or
 * the plain bytes (bit 31 of the size word) where LZ4 does not shrink them.
 * @param place addresses in the codec's memory; `target` has room for maxStoredSize(length) bytes
 * @returns bytes at rest
 * @see docs/design.md "Blocks at rest"; lz4_Frame_format.md, "Data Blocks"
 */
export function encodeBlock(
  codec: Codec,
  place: { source: number; length: number; target: number; table: number },
): number {
  const { source, length, target, table } = place
  assert(length > 0 && length <= BLOCK_SIZE, `a block of ${length} bytes`)
  const payload = target + WORD
  const compressed = codec.compress(source, length, payload, length - 1, table)
  if (compressed === 0) codec.bytes.copyWithin(payload, source, source + length)
  const size = compressed || length
  writeWord(codec.bytes, target, compressed === 0 ? length + STORED_PLAIN : compressed)
  writeWord(codec.bytes, payload + size, codec.xxh32(payload, size, 0))
  return size + FRAMING_SIZE
}

/** Reads the size word; `offset` and `storedLength` say where in `bytes` the block is. */
function payloadOf(
  bytes: Uint8Array,
  offset: number,
  storedLength: number,
): { length: number; plain: boolean } {
  const framed = storedLength > FRAMING_SIZE && storedLength <= maxStoredSize(BLOCK_SIZE)
  const word = framed ? readWord(bytes, offset) : 0
  const length = word % STORED_PLAIN
  if (!framed || length + FRAMING_SIZE !== storedLength)
    throw new LibraryError(
      'corrupt',
      `read a block at rest of ${storedLength} bytes: its size word is ${word}`,
    )
  return { length, plain: word >= STORED_PLAIN }
}

/** As `payloadOf`, where the plain length is known: a payload is plain exactly where it is as long as the block. */
function payloadFor(length: number, bytes: Uint8Array, offset: number, storedLength: number): number {
  const payload = payloadOf(bytes, offset, storedLength)
  if (payload.plain ? payload.length !== length : payload.length >= length)
    throw new LibraryError('corrupt', `read a block of ${length} bytes: its payload has ${payload.length}`)
  return payload.length
}

/** Bytes from the start of a block at rest that `storedSizeOf` needs. */
export const STORED_HEAD = WORD

/** What a block at rest takes in all, bytes, according to its first STORED_HEAD bytes. */
export function storedSizeOf(head: Uint8Array): number {
  return (readWord(head, 0) % STORED_PLAIN) + FRAMING_SIZE
}

/**
 * Decodes a block at rest to exactly `length` plain bytes at `target`. Does not look at the checksum: the store
 * did that when it read the block.
 * @param place addresses in the codec's memory
 * @throws corrupt
 */
export function decodeBlock(
  codec: Codec,
  place: { source: number; storedLength: number; target: number; length: number },
): void {
  const { source, storedLength, target, length } = place
  const payload = payloadFor(length, codec.bytes, source, storedLength)
  const from = source + WORD
  if (payload === length) {
    codec.bytes.copyWithin(target, from, from + length)
    return
  }
  const decoded = codec.decompress(from, payload, target, length, target)
  if (decoded !== length)
    throw new LibraryError('corrupt', `decode a block: it gave ${decoded} bytes instead of ${length}`)
}

interface Scratch {
  readonly codec: Codec
  readonly stored: number
  readonly plain: number
  readonly table: number
}

let scratch: Scratch | undefined

/** One small memory a thread, for those whose bytes are not in a codec's memory already. */
function scratchCodec(): Scratch {
  if (scratch) return scratch
  const table = FIRST_ADDRESS
  const plain = table + COMPRESS_TABLE_SIZE
  const stored = plain + BLOCK_SIZE
  const codec = openCodec(createCodecMemory(stored + maxStoredSize(BLOCK_SIZE)))
  scratch = { codec, table, plain, stored }
  return scratch
}

/**
 * Verifies the lengths and the XXH32 of a block at rest, without decoding it.
 * @param plainLength the block's plain bytes where they are known; only then is bit 31 of the size word verified too,
 *   so pass it before a block is handed on as it is
 * @throws corrupt
 */
export function verifyStored(bytes: Uint8Array, plainLength?: number): void {
  const { length } = payloadOf(bytes, 0, bytes.length)
  if (plainLength !== undefined) payloadFor(plainLength, bytes, 0, bytes.length)
  const { codec, stored } = scratchCodec()
  codec.bytes.set(bytes.subarray(WORD, WORD + length), stored)
  if (codec.xxh32(stored, length, 0) !== readWord(bytes, WORD + length))
    throw new LibraryError('corrupt', `read a block at rest of ${bytes.length} bytes: its checksum is wrong`)
}

/**
 * As `verifyStored`, where the block lies in a codec's memory and its plain length is known.
 * @throws corrupt
 */
export function verifyStoredAt(
  codec: Codec,
  place: { source: number; storedLength: number; length: number },
): void {
  const { source, storedLength, length } = place
  const payload = payloadFor(length, codec.bytes, source, storedLength)
  if (codec.xxh32(source + WORD, payload, 0) !== readWord(codec.bytes, source + WORD + payload))
    throw new LibraryError('corrupt', `read a block at rest of ${storedLength} bytes: its checksum is wrong`)
}

/**
 * Decodes a block at rest from anywhere in memory.
 * @param length its plain bytes
 * @returns a new array
 * @throws corrupt
 */
export function decodeStored(bytes: Uint8Array, length: number): Uint8Array {
  const plain = decodeUnknown(bytes)
  if (plain.length !== length)
    throw new LibraryError('corrupt', `decode a block: it gave ${plain.length} bytes instead of ${length}`)
  return plain
}

/**
 * As `decodeStored`, where nothing but the block at rest is known: its digest tells whether it is the right one.
 * @throws corrupt
 */
export function decodeUnknown(bytes: Uint8Array): Uint8Array {
  const { codec, stored, plain } = scratchCodec()
  const payload = payloadOf(bytes, 0, bytes.length)
  if (payload.plain) return new Uint8Array(bytes.subarray(WORD, WORD + payload.length))
  codec.bytes.set(bytes, stored)
  const length = codec.decompress(stored + WORD, payload.length, plain, BLOCK_SIZE, plain)
  if (length <= payload.length)
    throw new LibraryError('corrupt', `decode a block: ${payload.length} bytes gave ${length}`)
  return new Uint8Array(codec.bytes.subarray(plain, plain + length))
}

/** Says whether a block at rest holds just these bytes: verifies its lengths, its XXH32 and all of its payload. */
export function isStoredFrom(bytes: Uint8Array, plain: Uint8Array): boolean {
  try {
    verifyStored(bytes, plain.length)
    return Buffer.compare(decodeStored(bytes, plain.length), plain) === 0
  } catch (error) {
    if (error instanceof LibraryError && error.code === 'corrupt') return false
    throw error
  }
}

/** The full zero block and the last shorter one asked for: a disk has no others. */
const zeroBlocks: Uint8Array[] = []
const zeroLengths: number[] = []

/**
 * The encoding of a block of `length` zeros. No store keeps it, but it stands in the LZ4 frame that a disk is read as.
 * @returns always the same bytes; not to be changed
 */
export function storedZeroBlock(length: number): Uint8Array {
  const slot = length === BLOCK_SIZE ? 0 : 1
  const known = zeroBlocks[slot]
  if (known && zeroLengths[slot] === length) return known
  const { codec, plain, stored, table } = scratchCodec()
  codec.bytes.fill(0, plain, plain + length)
  const storedLength = encodeBlock(codec, { source: plain, length, target: stored, table })
  const made = new Uint8Array(codec.bytes.subarray(stored, stored + storedLength))
  zeroBlocks[slot] = made
  zeroLengths[slot] = length
  return made
}
