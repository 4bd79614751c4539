// LZ4 blocks (lz4_Block_format.md), on raw addresses. The caller (../codec.ts) has checked that every range
// lies inside the memory and that the memory is under 2 GiB, so `address + length + 64` cannot wrap.

const TABLE_LOG: u32 = 13
const TABLE_BYTES: usize = 4 << TABLE_LOG
const MIN_MATCH: usize = 4
const MAX_OFFSET: usize = 65535
/** The format's end rules: the last 5 bytes are literals; the last match starts 12 bytes before the end. */
const LAST_LITERALS: usize = 5
const MATCH_MARGIN: usize = 12
/** Failed searches before the step grows by one: data that does not compress is skipped faster and faster. */
const SKIP_LOG: u32 = 6

/** Five bytes hashed, not four: a better ratio at the same speed. */
// @ts-ignore: decorator
@inline function hash(value: u64): usize {
  return <usize>(((value << 24) * 889523592379) >> (64 - TABLE_LOG)) << 2
}

/** Copies [from, …) to [to, end) in steps of 8; writes up to 7 bytes past `end`, at least 8 in all. */
// @ts-ignore: decorator
@inline function copy8(to: usize, from: usize, end: usize): void {
  do {
    store<u64>(to, load<u64>(from))
    to += 8
    from += 8
  } while (to < end)
}

/** As `copy8`, in steps of 16: writes up to 15 bytes past `end`, at least 16 in all. */
// @ts-ignore: decorator
@inline function copy16(to: usize, from: usize, end: usize): void {
  do {
    v128.store(to, v128.load(from))
    to += 16
    from += 16
  } while (to < end)
}

/** Writes what of a length did not fit its token: bytes of 255, then the rest. */
// @ts-ignore: decorator
@inline function writeLength(to: usize, rest: usize): usize {
  for (; rest >= 255; rest -= 255) store<u8>(to++, 255)
  store<u8>(to, <u8>rest)
  return to + 1
}

/** The first address from `at` on where the bytes differ from those at `match`; `end` where none does. */
// @ts-ignore: decorator
@inline function matchEnd(at: usize, match: usize, end: usize): usize {
  while (at + 8 <= end) {
    const difference = load<u64>(at) ^ load<u64>(match)
    if (difference) return at + <usize>(ctz(difference) >> 3)
    at += 8
    match += 8
  }
  while (at < end && load<u8>(at) == load<u8>(match)) {
    at++
    match++
  }
  return at
}

/**
 * Compresses [source, source + length) into one block of at most `capacity` bytes at `target`.
 * What it writes depends on nothing but the plain bytes and whether they fit, and is part of the stored format
 * (docs/decisions/0003-encoder-is-part-of-the-format.md).
 * @returns bytes written, 0 where they do not fit
 */
export function compress(source: usize, length: usize, target: usize, capacity: usize, table: usize): i32 {
  const end = source + length
  const searchEnd = end - MATCH_MARGIN
  const literalEnd = end - LAST_LITERALS
  const targetEnd = target + capacity
  let at = source
  let anchor = source
  let to = target
  if (length > MATCH_MARGIN) {
    // A slot holds an offset from `source`; an empty one means offset 0, which is a position like any other
    // because a match counts only after its bytes were compared.
    memory.fill(table, 0, TABLE_BYTES)
    at++
    let nextSlot = table + hash(load<u64>(at))
    let ended = false
    while (!ended) {
      let match: usize = 0
      let next = at
      let searches: u32 = 1 << SKIP_LOG
      let step: usize = 1
      do {
        const slot = nextSlot
        at = next
        next += step
        step = searches++ >> SKIP_LOG
        if (next > searchEnd + 1) {
          ended = true
          break
        }
        match = source + load<u32>(slot)
        nextSlot = table + hash(load<u64>(next))
        store<u32>(slot, <u32>(at - source))
      } while (at - match > MAX_OFFSET || load<u32>(match) != load<u32>(at))
      if (ended) break
      while (at > anchor && match > source && load<u8>(at - 1) == load<u8>(match - 1)) {
        at--
        match--
      }
      const literals = at - anchor
      let token = to++
      if (to + literals + literals / 255 + 3 + LAST_LITERALS > targetEnd) return 0
      if (literals >= 15) {
        store<u8>(token, 240)
        to = writeLength(to, literals - 15)
      } else store<u8>(token, <u8>(literals << 4))
      if (to + literals + 16 <= targetEnd && anchor + literals + 16 <= end) copy16(to, anchor, to + literals)
      else memory.copy(to, anchor, literals)
      to += literals
      while (true) {
        store<u16>(to, <u16>(at - match))
        to += 2
        const matchStart = at + MIN_MATCH
        at = matchEnd(matchStart, match + MIN_MATCH, literalEnd)
        const extra = at - matchStart
        if (to + (extra + 240) / 255 + 1 + LAST_LITERALS > targetEnd) return 0
        if (extra >= 15) {
          store<u8>(token, load<u8>(token) + 15)
          to = writeLength(to, extra - 15)
        } else store<u8>(token, load<u8>(token) + <u8>extra)
        anchor = at
        if (at > searchEnd) {
          ended = true
          break
        }
        store<u32>(table + hash(load<u64>(at - 2)), <u32>(at - 2 - source))
        const slot = table + hash(load<u64>(at))
        match = source + load<u32>(slot)
        store<u32>(slot, <u32>(at - source))
        if (at - match > MAX_OFFSET || load<u32>(match) != load<u32>(at)) break
        // The next match follows at once. The check above left room for its token and offset.
        token = to++
        store<u8>(token, 0)
      }
      if (!ended) nextSlot = table + hash(load<u64>(++at))
    }
  }
  const literals = end - anchor
  if (to + literals + 1 + (literals + 240) / 255 > targetEnd) return 0
  if (literals >= 15) {
    store<u8>(to, 240)
    to = writeLength(to + 1, literals - 15)
  } else store<u8>(to++, <u8>(literals << 4))
  memory.copy(to, anchor, literals)
  return <i32>(to + literals - target)
}

/**
 * Writes [to, end) from `offset` bytes before it. `limit` is where the target ends: wide copies write up to
 * 16 bytes too far, so they stop short of it, and only the last few bytes are copied one by one.
 */
// @ts-ignore: decorator
@inline function copyMatch(to: usize, end: usize, offset: usize, limit: usize): void {
  let wideEnd = end
  if (end + 16 > limit) wideEnd = limit > to + 48 ? limit - 32 : to
  if (wideEnd > to) {
    if (offset >= 16) copy16(to, to - offset, wideEnd)
    else if (offset >= 8) copy8(to, to - offset, wideEnd)
    else if (offset == 1) memory.fill(to, load<u8>(to - 1), wideEnd - to)
    else {
      // The bytes repeat every `offset`: after eight of them, a multiple of it that is at least 8 does as well.
      for (let i: usize = 0; i < 8; i++) store<u8>(to + i, load<u8>(to + i - offset))
      const period = ((7 + offset) / offset) * offset
      for (let p = to + 8; p < wideEnd; p += 8) store<u64>(p, load<u64>(p - period))
    }
    to = wideEnd
  }
  for (; to < end; to++) store<u8>(to, load<u8>(to - offset))
}

/**
 * Decodes the block [source, source + length) to `target`. Safe on any input: reads nothing outside the source
 * and [history, target + capacity), writes nothing outside [target, target + capacity).
 * @returns bytes written; negative where the block is corrupt or needs more than `capacity`
 */
export function decompress(source: usize, length: usize, target: usize, capacity: usize, history: usize): i32 {
  let at = source
  let to = target
  const end = source + length
  const targetEnd = target + capacity
  while (true) {
    if (at >= end) return -1
    const token = <usize>load<u8>(at++)
    let literals = token >> 4
    if (literals < 15 && at + 18 < end && to + 42 <= targetEnd) {
      // Far from both ends a short sequence is copied whole: 16 bytes of literals, then 18 of the match.
      v128.store(to, v128.load(at))
      to += literals
      at += literals
      const near = <usize>load<u16>(at)
      const short = token & 15
      if (short != 15 && near >= 8 && near <= to - history) {
        const from = to - near
        at += 2
        store<u64>(to, load<u64>(from))
        store<u64>(to, load<u64>(from, 8), 8)
        store<u16>(to, load<u16>(from, 16), 16)
        to += short + MIN_MATCH
        continue
      }
    } else {
      if (literals == 15) {
        let more: usize = 0
        do {
          if (at >= end) return -2
          more = <usize>load<u8>(at++)
          literals += more
          // Also keeps a run of 255s from overflowing the sum.
          if (literals > targetEnd - to) return -3
        } while (more == 255)
      }
      if (to + literals + 16 <= targetEnd && at + literals + 16 <= end) copy16(to, at, to + literals)
      else {
        if (literals > end - at || literals > targetEnd - to) return -3
        memory.copy(to, at, literals)
        // A block ends with literals, never with a match.
        if (at + literals == end) return <i32>(to + literals - target)
      }
      to += literals
      at += literals
    }
    if (at + 2 > end) return -4
    const offset = <usize>load<u16>(at)
    at += 2
    // Compared so, and not as an address, because `to - offset` may be below zero.
    if (offset == 0 || offset > to - history) return -6
    let matched: usize = (token & 15) + MIN_MATCH
    if (matched == 15 + MIN_MATCH) {
      let more: usize = 0
      do {
        if (at >= end) return -5
        more = <usize>load<u8>(at++)
        matched += more
        if (matched > targetEnd - to) return -7
      } while (more == 255)
    }
    if (matched > targetEnd - to) return -7
    copyMatch(to, to + matched, offset, targetEnd)
    to += matched
  }
}
