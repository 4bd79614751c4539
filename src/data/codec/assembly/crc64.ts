// CRC-64 of ECMA-182 as xz has it: reflected, begun and ended with all bits set.

const POLYNOMIAL: u64 = 0xc96c5795d7870f42

/** Tables of 256 entries: what a byte does to the CRC when 0 to 23 more bytes come behind it. */
const TABLES: usize = 32 << 10
const TABLE_LOG: usize = 11
const TABLE_COUNT: usize = 24

// @ts-ignore: decorator
@inline function entry(behind: usize, byte: u64): u64 {
  return load<u64>(TABLES + (behind << TABLE_LOG) + (<usize>(byte & 0xff) << 3))
}

/** What a word does when `behind` more bytes come behind it. */
// @ts-ignore: decorator
@inline function step(word: u64, behind: usize): u64 {
  return (
    entry(behind + 7, word) ^
    entry(behind + 6, word >>> 8) ^
    entry(behind + 5, word >>> 16) ^
    entry(behind + 4, word >>> 24) ^
    entry(behind + 3, word >>> 32) ^
    entry(behind + 2, word >>> 40) ^
    entry(behind + 1, word >>> 48) ^
    entry(behind, word >>> 56)
  )
}

/** Makes the tables; once for a memory. */
export function initCrc64(): void {
  for (let byte: u64 = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & (0 - (crc & 1)))
    store<u64>(TABLES + (<usize>byte << 3), crc)
  }
  for (let at = TABLES; at < TABLES + ((TABLE_COUNT - 1) << TABLE_LOG); at += 8) {
    const crc = load<u64>(at)
    store<u64>(at + (1 << TABLE_LOG), (crc >>> 8) ^ entry(0, crc))
  }
}

/**
 * Goes on with a CRC over [at, end). Three words are under way at a time, each with a CRC of its own that skips the
 * other two, since a single one would wait for its tables most of the time.
 */
export function crc64(at: usize, end: usize, crc: u64): u64 {
  let first = ~crc
  if (at + 24 <= end) {
    let second: u64 = 0
    let third: u64 = 0
    while (at + 48 <= end) {
      first = step(first ^ load<u64>(at), 16)
      second = step(second ^ load<u64>(at, 8), 16)
      third = step(third ^ load<u64>(at, 16), 16)
      at += 24
    }
    first = step(first ^ load<u64>(at), 0)
    first = step(first ^ second ^ load<u64>(at, 8), 0)
    first = step(first ^ third ^ load<u64>(at, 16), 0)
    at += 24
  }
  while (at < end) {
    first = (first >>> 8) ^ entry(0, first ^ load<u8>(at))
    at++
  }
  return ~first
}
