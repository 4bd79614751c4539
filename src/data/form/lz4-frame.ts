/** The bytes around the blocks of an LZ4 frame; see lz4_Frame_format.md. */

const MAGIC = 0x184d2204
/** Version 01, independent blocks, block checksums, content size; no content checksum, no dictionary. */
const FLG = 0x78
/** Blocks of at most 1 MiB. */
const BD = 0x60
const HEADER_LENGTH = 15

const PRIME_1 = 0x9e3779b1
const PRIME_2 = 0x85ebca77
const PRIME_3 = 0xc2b2ae3d
const PRIME_4 = 0x27d4eb2f
const PRIME_5 = 0x165667b1

/** @param contentSize bytes that the frame decodes to */
export function frameHeader(contentSize: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC, true)
  view.setUint8(4, FLG)
  view.setUint8(5, BD)
  view.setBigUint64(6, BigInt(contentSize), true)
  view.setUint8(14, (xxh32Short(bytes.subarray(4, 14)) >>> 8) & 0xff)
  return bytes
}

/** A size word of zero: no more blocks. Nothing may follow it. */
export function frameEnd(): Uint8Array {
  return new Uint8Array(4)
}

/** XXH32 with seed 0 of fewer than 16 bytes, which the codec's memory is not worth. */
function xxh32Short(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let sum = PRIME_5 + bytes.length
  let at = 0
  for (; at + 4 <= bytes.length; at += 4)
    sum = Math.imul(rotateLeft(sum + Math.imul(view.getUint32(at, true), PRIME_3), 17), PRIME_4)
  for (; at < bytes.length; at++)
    sum = Math.imul(rotateLeft(sum + Math.imul(view.getUint8(at), PRIME_5), 11), PRIME_1)
  sum = Math.imul(sum ^ (sum >>> 15), PRIME_2)
  sum = Math.imul(sum ^ (sum >>> 13), PRIME_3)
  return (sum ^ (sum >>> 16)) >>> 0
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}
