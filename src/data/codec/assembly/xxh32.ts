// XXH32 (xxhash_spec.md), in one call and in pieces.

const P1: u32 = 2654435761
const P2: u32 = 2246822519
const P3: u32 = 3266489917
const P4: u32 = 668265263
const P5: u32 = 374761393

// The state in memory: four lanes, 16 bytes that wait for more, and the count of bytes seen (u64).
const BUFFER: usize = 16
const SEEN: usize = 32

// @ts-ignore: decorator
@inline function round(lane: u32, address: usize): u32 {
  return rotl(lane + load<u32>(address) * P2, 13) * P1
}

// @ts-ignore: decorator
@inline function merge(a: u32, b: u32, c: u32, d: u32): u32 {
  return rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18)
}

/** Mixes in the last bytes (fewer than 16), then spreads every bit over the whole. */
// @ts-ignore: decorator
@inline function finish(hash: u32, address: usize, end: usize): u32 {
  for (; address + 4 <= end; address += 4) hash = rotl(hash + load<u32>(address) * P3, 17) * P4
  for (; address < end; address++) hash = rotl(hash + <u32>load<u8>(address) * P5, 11) * P1
  hash = (hash ^ (hash >> 15)) * P2
  hash = (hash ^ (hash >> 13)) * P3
  return hash ^ (hash >> 16)
}

export function xxh32(address: usize, length: usize, seed: u32): u32 {
  const end = address + length
  let hash = seed + P5
  if (length >= 16) {
    let a = seed + P1 + P2
    let b = seed + P2
    let c = seed
    let d = seed - P1
    do {
      a = round(a, address)
      b = round(b, address + 4)
      c = round(c, address + 8)
      d = round(d, address + 12)
      address += 16
    } while (address + 16 <= end)
    hash = merge(a, b, c, d)
  }
  return finish(hash + <u32>length, address, end)
}

export function xxh32Start(state: usize, seed: u32): void {
  store<u32>(state, seed + P1 + P2)
  store<u32>(state, seed + P2, 4)
  store<u32>(state, seed, 8)
  store<u32>(state, seed - P1, 12)
  store<u64>(state, 0, SEEN)
}

export function xxh32Update(state: usize, address: usize, length: usize): void {
  const end = address + length
  const waiting = <usize>(load<u64>(state, SEEN) & 15)
  store<u64>(state, load<u64>(state, SEEN) + <u64>length, SEEN)
  if (waiting + length < 16) {
    memory.copy(state + BUFFER + waiting, address, length)
    return
  }
  let a = load<u32>(state)
  let b = load<u32>(state, 4)
  let c = load<u32>(state, 8)
  let d = load<u32>(state, 12)
  if (waiting) {
    memory.copy(state + BUFFER + waiting, address, 16 - waiting)
    a = round(a, state + BUFFER)
    b = round(b, state + BUFFER + 4)
    c = round(c, state + BUFFER + 8)
    d = round(d, state + BUFFER + 12)
    address += 16 - waiting
  }
  for (; address + 16 <= end; address += 16) {
    a = round(a, address)
    b = round(b, address + 4)
    c = round(c, address + 8)
    d = round(d, address + 12)
  }
  store<u32>(state, a)
  store<u32>(state, b, 4)
  store<u32>(state, c, 8)
  store<u32>(state, d, 12)
  memory.copy(state + BUFFER, address, end - address)
}

/** Leaves the state as it is: more may follow. */
export function xxh32Finish(state: usize): u32 {
  const seen = load<u64>(state, SEEN)
  // Where fewer than 16 bytes were seen, the third lane still holds the seed.
  const hash =
    seen >= 16
      ? merge(load<u32>(state), load<u32>(state, 4), load<u32>(state, 8), load<u32>(state, 12))
      : load<u32>(state, 8) + P5
  return finish(hash + <u32>seen, state + BUFFER, state + BUFFER + <usize>(seen & 15))
}
