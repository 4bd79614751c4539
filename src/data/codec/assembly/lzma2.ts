// One LZMA chunk of LZMA2 data (LZMA SDK, DOC/lzma-specification.txt), on raw addresses of a memory of our own.
//
// All of it is one function, because range and code change with every bit and are fast only as local variables.
// A probability is 11 bits, in 16. Positions in a table of probabilities are kept doubled, as offsets in bytes.
// A bit whose value says where to go on is a branch; a bit of a number that is being read is as good as random, and
// a wrongly predicted branch costs more than all else, so those are chosen by `select`.
// Those come in runs, trees, where each waits for the probability that the one before it chose: so both that may come
// next are loaded ahead, the last time in vain.
//
// Any input is safe: what it makes us read or write lies in the memory, and the caller gave us all of that.

/** What goes on from one chunk to the next. Addresses below 32 KiB are ours, see ../lzma.ts. */
const STATE: usize = 64
const REP0: usize = 68
const REP1: usize = 72
const REP2: usize = 76
const REP3: usize = 80
const LC: usize = 84
const LP: usize = 88
const PB: usize = 92

/** Tables of probabilities. Rows for 16 positions, whatever pb is; trees begin at index 1. */
const TABLES: usize = 128
const IS_MATCH = TABLES
const IS_REP = IS_MATCH + 2 * 12 * 16
const IS_REP_G0 = IS_REP + 2 * 12
const IS_REP_G1 = IS_REP_G0 + 2 * 12
const IS_REP_G2 = IS_REP_G1 + 2 * 12
const IS_REP0_LONG = IS_REP_G2 + 2 * 12
const SLOT = IS_REP0_LONG + 2 * 12 * 16
const SPECIAL = SLOT + 2 * 4 * 64
const ALIGN = SPECIAL + 2 * 128
const MATCH_LENGTH = ALIGN + 2 * 16
const REP_LENGTH = MATCH_LENGTH + 1088
const LITERAL = REP_LENGTH + 1088
const TABLES_END = LITERAL + (2 * 0x300 << 4)

/** Parts of a length coder: two choices, trees of 3 bits for each of 16 positions, twice, and a tree of 8. */
const CHOICE2: usize = 2
const LOW: usize = 32
const MID: usize = LOW + 2 * 16 * 8
const HIGH: usize = MID + 2 * 16 * 8

const TOP: u32 = 1 << 24
const FULL: u32 = 1 << 11

/** The chunk is not LZMA data. */
const CORRUPT: i32 = -1

// @ts-ignore: decorator
@inline function raised(probability: u32): u32 {
  return probability + ((FULL - probability) >>> 5)
}

// @ts-ignore: decorator
@inline function lowered(probability: u32): u32 {
  return probability - (probability >>> 5)
}

/** `raised` where the bit is 0, else `lowered`. */
// @ts-ignore: decorator
@inline function moved(probability: u32, zero: bool): u32 {
  return probability - <u32>(<i32>(probability + select<u32>(31 - FULL, 0, zero)) >> 5)
}

/** Copies [from, …) to [to, end) in steps of 16; the distance is 16 at least. Writes up to 15 bytes past `end`. */
// @ts-ignore: decorator
@inline function copy16(to: usize, from: usize, end: usize): void {
  do {
    v128.store(to, v128.load(from))
    to += 16
    from += 16
  } while (to < end)
}

/** Forgets all that was learnt, and takes new properties: (pb * 5 + lp) * 9 + lc, with lc + lp at most 4. */
export function resetState(properties: u32): void {
  store<u32>(LC, properties % 9)
  store<u32>(LP, (properties / 9) % 5)
  store<u32>(PB, properties / 45)
  memory.fill(STATE, 0, LC - STATE)
  for (let at = TABLES; at < TABLES_END; at += 2) store<u16>(at, FULL / 2)
}

/**
 * Decodes the chunk [input, inputEnd) to exactly [output, outputEnd). Reads up to 32 bytes past `inputEnd` and
 * writes up to 15 past `outputEnd`.
 * @param floor where the dictionary begins: nothing before it is read
 * @param origin where position 0 is, or was; below `floor` once the window has moved, and may wrap
 * @param dictionary the largest distance
 * @returns 0, or CORRUPT
 */
export function decodeChunk(
  input: usize,
  inputEnd: usize,
  output: usize,
  outputEnd: usize,
  floor: usize,
  origin: usize,
  dictionary: u32,
): i32 {
  const lc = load<u32>(LC)
  const literalShift: u32 = 8 - lc
  const literalMask: u32 = (1 << load<u32>(LP)) - 1
  const positionMask: u32 = (1 << load<u32>(PB)) - 1
  let state = load<u32>(STATE)
  let rep0 = load<u32>(REP0)
  let rep1 = load<u32>(REP1)
  let rep2 = load<u32>(REP2)
  let rep3 = load<u32>(REP3)

  if (load<u8>(input) != 0) return CORRUPT
  let range: u32 = 0xffffffff
  let code = bswap(load<u32>(input + 1))
  input += 5
  let probability: u32 = 0
  let bound: u32 = 0
  let at: usize = 0
  let symbol: u32 = 0

  while (output < outputEnd) {
    // A match takes 20 bytes at most, so this is enough to stay within what the caller made readable.
    if (input > inputEnd) return CORRUPT
    const position = <u32>(output - origin)
    const row = ((state << 4) + (position & positionMask)) << 1

    if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
    probability = load<u16>(row, IS_MATCH)
    bound = (range >>> 11) * probability
    if (code < bound) {
      range = bound
      store<u16>(row, <u16>raised(probability), IS_MATCH)
      const before: u32 = output == floor ? 0 : load<u8>(output - 1)
      at = (((position & literalMask) << lc) + (before >>> literalShift)) * (2 * 0x300)
      symbol = 2
      if (state < 7) {
        state = state < 4 ? 0 : state - 3
        probability = load<u16>(at + 2, LITERAL)
        do {
          const next = at + (symbol << 1)
          const next0: u32 = load<u16>(next, LITERAL)
          const next1: u32 = load<u16>(next, LITERAL + 2)
          if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
          bound = (range >>> 11) * probability
          const zero = code < bound
          store<u16>(at + symbol, <u16>moved(probability, zero), LITERAL)
          probability = select(next0, next1, zero)
          symbol = (symbol << 1) + select<u32>(0, 2, zero)
          range = select<u32>(bound, range - bound, zero)
          code = select<u32>(code, code - bound, zero)
        } while (symbol < 0x200)
      } else {
        state = state < 10 ? state - 3 : state - 6
        // The byte at the last distance tells which of two tables is used, until the first bit that differs from it.
        let expected = <u32>load<u8>(output - rep0 - 1) << 2
        let same: u32 = 0x200
        let where = at + same + (expected & same) + 2
        probability = load<u16>(where, LITERAL)
        do {
          const bit = expected & same
          expected <<= 1
          const same0 = same & ~bit
          const same1 = bit
          const where0 = at + same0 + (expected & same0) + (symbol << 1)
          const where1 = at + same1 + (expected & same1) + (symbol << 1) + 2
          const next0: u32 = load<u16>(where0, LITERAL)
          const next1: u32 = load<u16>(where1, LITERAL)
          if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
          bound = (range >>> 11) * probability
          const zero = code < bound
          store<u16>(where, <u16>moved(probability, zero), LITERAL)
          probability = select(next0, next1, zero)
          where = select(where0, where1, zero)
          symbol = (symbol << 1) + select<u32>(0, 2, zero)
          same = select(same0, same1, zero)
          range = select<u32>(bound, range - bound, zero)
          code = select<u32>(code, code - bound, zero)
        } while (symbol < 0x200)
      }
      store<u8>(output, <u8>(symbol >>> 1))
      output++
      continue
    }
    range -= bound
    code -= bound
    store<u16>(row, <u16>lowered(probability), IS_MATCH)

    // The length coder.
    let coder = REP_LENGTH
    if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
    probability = load<u16>(state << 1, IS_REP)
    bound = (range >>> 11) * probability
    if (code < bound) {
      range = bound
      store<u16>(state << 1, <u16>raised(probability), IS_REP)
      coder = MATCH_LENGTH
    } else {
      range -= bound
      code -= bound
      store<u16>(state << 1, <u16>lowered(probability), IS_REP)
      if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
      probability = load<u16>(state << 1, IS_REP_G0)
      bound = (range >>> 11) * probability
      if (code < bound) {
        range = bound
        store<u16>(state << 1, <u16>raised(probability), IS_REP_G0)
        if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
        probability = load<u16>(row, IS_REP0_LONG)
        bound = (range >>> 11) * probability
        if (code < bound) {
          range = bound
          store<u16>(row, <u16>raised(probability), IS_REP0_LONG)
          if (rep0 >= <u32>(output - floor) || rep0 >= dictionary) return CORRUPT
          store<u8>(output, load<u8>(output - rep0 - 1))
          output++
          state = state < 7 ? 9 : 11
          continue
        }
        range -= bound
        code -= bound
        store<u16>(row, <u16>lowered(probability), IS_REP0_LONG)
      } else {
        range -= bound
        code -= bound
        store<u16>(state << 1, <u16>lowered(probability), IS_REP_G0)
        let distance = rep1
        if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
        probability = load<u16>(state << 1, IS_REP_G1)
        bound = (range >>> 11) * probability
        if (code < bound) {
          range = bound
          store<u16>(state << 1, <u16>raised(probability), IS_REP_G1)
        } else {
          range -= bound
          code -= bound
          store<u16>(state << 1, <u16>lowered(probability), IS_REP_G1)
          distance = rep2
          if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
          probability = load<u16>(state << 1, IS_REP_G2)
          bound = (range >>> 11) * probability
          if (code < bound) {
            range = bound
            store<u16>(state << 1, <u16>raised(probability), IS_REP_G2)
          } else {
            range -= bound
            code -= bound
            store<u16>(state << 1, <u16>lowered(probability), IS_REP_G2)
            distance = rep3
            rep3 = rep2
          }
          rep2 = rep1
        }
        rep1 = rep0
        rep0 = distance
      }
    }

    // The length: which tree it is in, then its bits in that tree.
    let length: u32 = 2
    let limit: u32 = 0x10
    at = coder + LOW + ((position & positionMask) << 4)
    if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
    probability = load<u16>(coder)
    bound = (range >>> 11) * probability
    if (code < bound) {
      range = bound
      store<u16>(coder, <u16>raised(probability))
    } else {
      range -= bound
      code -= bound
      store<u16>(coder, <u16>lowered(probability))
      if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
      probability = load<u16>(coder, CHOICE2)
      bound = (range >>> 11) * probability
      if (code < bound) {
        range = bound
        store<u16>(coder, <u16>raised(probability), CHOICE2)
        length = 10
        at += MID - LOW
      } else {
        range -= bound
        code -= bound
        store<u16>(coder, <u16>lowered(probability), CHOICE2)
        length = 18
        limit = 0x200
        at = coder + HIGH
      }
    }
    symbol = 2
    probability = load<u16>(at + 2)
    do {
      const next = at + (symbol << 1)
      const next0: u32 = load<u16>(next)
      const next1: u32 = load<u16>(next, 2)
      if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
      bound = (range >>> 11) * probability
      const zero = code < bound
      store<u16>(at + symbol, <u16>moved(probability, zero))
      probability = select(next0, next1, zero)
      symbol = (symbol << 1) + select<u32>(0, 2, zero)
      range = select<u32>(bound, range - bound, zero)
      code = select<u32>(code, code - bound, zero)
    } while (symbol < limit)
    length += (symbol - limit) >>> 1

    if (coder == REP_LENGTH) state = state < 7 ? 8 : 11
    else {
      state = state < 7 ? 7 : 10
      rep3 = rep2
      rep2 = rep1
      rep1 = rep0
      at = <usize>min<u32>(length - 2, 3) << 7
      symbol = 2
      probability = load<u16>(at + 2, SLOT)
      do {
        const next = at + (symbol << 1)
        const next0: u32 = load<u16>(next, SLOT)
        const next1: u32 = load<u16>(next, SLOT + 2)
        if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
        bound = (range >>> 11) * probability
        const zero = code < bound
        store<u16>(at + symbol, <u16>moved(probability, zero), SLOT)
        probability = select(next0, next1, zero)
        symbol = (symbol << 1) + select<u32>(0, 2, zero)
        range = select<u32>(bound, range - bound, zero)
        code = select<u32>(code, code - bound, zero)
      } while (symbol < 0x80)
      rep0 = (symbol >>> 1) - 0x40
      if (rep0 >= 4) {
        const slot = rep0
        let bits = (slot >>> 1) - 1
        rep0 = 2 | (slot & 1)
        at = ALIGN
        if (slot < 14) {
          rep0 <<= bits
          at = SPECIAL + ((rep0 - slot) << 1)
        } else {
          bits -= 4
          do {
            if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
            range >>>= 1
            const zero = code < range
            rep0 = (rep0 << 1) + select<u32>(0, 1, zero)
            code = select<u32>(code, code - range, zero)
          } while (--bits)
          rep0 <<= 4
          bits = 4
        }
        // The low bits, the lowest first.
        symbol = 2
        let bit: u32 = 1
        probability = load<u16>(at + 2)
        do {
          const next = at + (symbol << 1)
          const next0: u32 = load<u16>(next)
          const next1: u32 = load<u16>(next, 2)
          if (range < TOP) { range <<= 8; code = (code << 8) | load<u8>(input); input++ }
          bound = (range >>> 11) * probability
          const zero = code < bound
          store<u16>(at + symbol, <u16>moved(probability, zero))
          probability = select(next0, next1, zero)
          symbol = (symbol << 1) + select<u32>(0, 2, zero)
          rep0 += select<u32>(0, bit, zero)
          range = select<u32>(bound, range - bound, zero)
          code = select<u32>(code, code - bound, zero)
          bit <<= 1
        } while (--bits)
      }
    }

    // An end marker is a distance of 2^32, and refused as any other that is too large.
    if (rep0 >= <u32>(output - floor) || rep0 >= dictionary) return CORRUPT
    const end = output + length
    if (end > outputEnd) return CORRUPT
    let distance = <usize>rep0 + 1
    if (distance < 16) {
      if (distance == 1) {
        const sixteen = i8x16.splat(load<u8>(output - 1))
        do {
          v128.store(output, sixteen)
          output += 16
        } while (output < end)
        output = end
        continue
      }
      // The first 16 bytes one by one; what follows repeats them at every multiple of the distance.
      const wide = min(output + 16, end)
      do {
        store<u8>(output, load<u8>(output - distance))
        output++
      } while (output < wide)
      distance *= (15 + distance) / distance
    }
    if (output < end) copy16(output, output - distance, end)
    output = end
  }

  if (range < TOP) { code = (code << 8) | load<u8>(input); input++ }
  if (input != inputEnd || code != 0) return CORRUPT
  store<u32>(STATE, state)
  store<u32>(REP0, rep0)
  store<u32>(REP1, rep1)
  store<u32>(REP2, rep2)
  store<u32>(REP3, rep3)
  return 0
}
