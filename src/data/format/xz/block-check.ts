import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Lzma2 } from '#data/codec/lzma.ts'

/** Gathers what a block's check is computed over, its plain bytes. */
export interface BlockCheck {
  /** @param output of the decoder at hand */
  update(output: Uint8Array): void
  /** Whether these bytes of the file are the check of all that was seen. */
  matches(bytes: Uint8Array): boolean
}

/**
 * Begins a block's check.
 * @param kind by its number in the stream header, one that `checkSizeOf` knows
 */
export function createBlockCheck(kind: number, decoder: Lzma2): BlockCheck {
  if (kind === 1) {
    let crc = 0
    return {
      update: (output) => {
        crc = crc32(output, crc)
      },
      matches: (bytes) => viewOf(bytes).getUint32(0, true) === crc,
    }
  }
  if (kind === 4) {
    let crc = 0n
    return {
      update: (output) => {
        crc = decoder.crc64(output, crc)
      },
      matches: (bytes) => viewOf(bytes).getBigUint64(0, true) === crc,
    }
  }
  if (kind === 10) {
    const hash = createHash('sha256')
    return { update: (output) => hash.update(output), matches: (bytes) => hash.digest().equals(bytes) }
  }
  return { update: () => {}, matches: () => true }
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length)
}
