/** Why an integer cannot be read: the bytes end within it, or it is not written the one allowed way. */
export type BadInteger = 'cut' | 'invalid'

/** The most bytes that an integer takes. */
export const MAX_INTEGER_SIZE = 9

/**
 * Reads a variable-length integer: 7 bits a byte, low bits first, the high bit set on all but the last byte.
 * Exact up to 2^53; above that the nearest number, which is over any limit and equal to no real size.
 * @see .xz file format 1.2, "Multibyte Integers"
 */
export function readInteger(
  bytes: Uint8Array,
  offset: number,
): { readonly value: number; readonly end: number } | BadInteger {
  let value = 0
  for (let index = 0; index < MAX_INTEGER_SIZE; index++) {
    const byte = bytes[offset + index]
    if (byte === undefined) return 'cut'
    value += (byte & 0x7f) * 2 ** (7 * index)
    if (byte < 0x80) return byte === 0 && index > 0 ? 'invalid' : { value, end: offset + index + 1 }
  }
  return 'invalid'
}

/** Writes an integer of at most 2^53. */
export function writeInteger(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) + 0x80)
    rest = Math.floor(rest / 0x80)
  }
  bytes.push(rest)
  return bytes
}
