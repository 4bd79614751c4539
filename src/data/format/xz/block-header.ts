import { crc32 } from 'node:zlib'
import type { ByteFeed } from '#base/byte-feed.ts'
import { readLe32 } from '../frames.ts'
import { streamRefusals } from '../stream-refusals.ts'
import { type BadInteger, readInteger } from './integers.ts'

const refuse = streamRefusals('xz')

export interface BlockHeader {
  /** Bytes of the header itself. */
  readonly size: number
  /** Claims about the block, where it makes them. */
  readonly compressedSize: number | undefined
  readonly uncompressedSize: number | undefined
  /** How far back a match may reach, in bytes. */
  readonly dictionary: number
}

const FILTER_COUNT = 0x03
const RESERVED = 0x3c
const HAS_COMPRESSED_SIZE = 0x40
const HAS_UNCOMPRESSED_SIZE = 0x80
const LZMA2 = 0x21
/** The property byte of the largest dictionary, 4 GiB - 1. */
const MAX_DICTIONARY_CODE = 40

const FILTER_NAMES: ReadonlyMap<number, string> = new Map([
  [0x03, 'delta'],
  [0x04, 'x86'],
  [0x05, 'PowerPC'],
  [0x06, 'IA-64'],
  [0x07, 'ARM'],
  [0x08, 'ARM Thumb'],
  [0x09, 'SPARC'],
  [0x0a, 'ARM64'],
  [0x0b, 'RISC-V'],
])

/**
 * Reads a block's header without moving on: it is part of the block.
 * @param dictionaryLimit the largest dictionary in bytes; nothing has been allocated for it yet
 * @throws Refusal: truncated, checksum, bad-stream, unsupported-stream, memory-limit
 * @see .xz file format 1.2, "Block Header"
 */
export async function peekBlockHeader(feed: ByteFeed, dictionaryLimit: number): Promise<BlockHeader> {
  const size = (feed.byte + 1) * 4
  if (!(await feed.fill(size))) throw refuse.truncated(feed.offset + feed.buffered)
  const header = feed.view(size)
  const start = feed.offset
  if (readLe32(header, size - 4) !== crc32(header.subarray(0, size - 4))) {
    throw refuse.checksum(start, 'block header')
  }
  const flags = header[1] ?? 0
  if ((flags & RESERVED) !== 0) throw refuse.unsupported('reserved block flags')

  const fields = new Fields(header.subarray(0, size - 4), start)
  const compressedSize = (flags & HAS_COMPRESSED_SIZE) !== 0 ? fields.takeInteger() : undefined
  const uncompressedSize = (flags & HAS_UNCOMPRESSED_SIZE) !== 0 ? fields.takeInteger() : undefined
  if (compressedSize === 0) throw refuse.damaged(start, 'a block of no bytes')
  const dictionary = readFilter(fields, (flags & FILTER_COUNT) + 1, start, dictionaryLimit)
  if (fields.rest().some((byte) => byte !== 0)) throw refuse.damaged(start, 'padding that is not zero')
  return { size, compressedSize, uncompressedSize, dictionary }
}

/**
 * Returns the dictionary's size. Exactly one filter, LZMA2: nobody packs disks with the others, and chains are a way to
 * burn processor time.
 */
function readFilter(fields: Fields, count: number, start: number, dictionaryLimit: number): number {
  const id = fields.takeInteger()
  if (id !== LZMA2) {
    const name = FILTER_NAMES.get(id)
    throw refuse.unsupported(name === undefined ? `filter ${id}` : `the ${name} filter`)
  }
  if (count > 1) throw refuse.unsupported(`a chain of ${count} filters`)
  if (fields.takeInteger() !== 1) throw refuse.damaged(start, 'wrong properties of LZMA2')
  const code = fields.takeByte()
  if (code > MAX_DICTIONARY_CODE) throw refuse.damaged(start, `dictionary code ${code}`)
  const dictionary = code === MAX_DICTIONARY_CODE ? 2 ** 32 - 1 : (2 + (code & 1)) * 2 ** ((code >> 1) + 11)
  if (dictionary > dictionaryLimit) throw refuse.memoryLimit('dictionary', dictionary, dictionaryLimit)
  return dictionary
}

/** Takes a header's fields one by one, from the byte behind its flags on. */
class Fields {
  readonly #bytes: Uint8Array
  readonly #start: number
  #at = 2

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes
    this.#start = start
  }

  takeInteger(): number {
    const read: { value: number; end: number } | BadInteger = readInteger(this.#bytes, this.#at)
    if (typeof read === 'string')
      throw refuse.damaged(this.#start + this.#at, 'an integer that is not allowed')
    this.#at = read.end
    return read.value
  }

  takeByte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw refuse.damaged(this.#start + this.#at, 'a block header that is too short')
    return byte
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at)
  }
}
