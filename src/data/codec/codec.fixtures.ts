// Random bytes for tests, the same for the same seed on every machine.

export interface Random {
  /** An integer in [0, limit), or 0. */
  below(limit: number): number
  chance(probability: number): boolean
  bytes(length: number): Uint8Array
}

/** A small generator (mulberry32); its sequence is fixed, golden tests rely on it. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const below = (limit: number) => (limit <= 1 ? 0 : Math.floor((next() / 2 ** 32) * limit))
  return {
    below,
    chance: (probability) => next() / 2 ** 32 < probability,
    bytes: (length) => Uint8Array.from({ length }, () => next() & 255),
  }
}

/** Bytes as disks have them: runs, repeats from near and far, words of text, noise, zeros. */
export function shapedBytes(random: Random, length: number): Uint8Array {
  const out = new Uint8Array(length)
  const noise = random.chance(0.2)
  for (let at = 0; at < length; ) {
    const run = Math.min(length - at, 1 + random.below(random.chance(0.1) ? 5000 : 60))
    const shape = noise ? 3 : random.below(5)
    if (shape === 0) out.fill(random.below(256), at, at + run)
    else if (shape === 1 && at > 0) {
      const offset = 1 + random.below(Math.min(at, random.chance(0.5) ? 20 : 70_000))
      for (let i = 0; i < run; i++) out[at + i] = out[at + i - offset] ?? 0
    } else if (shape === 2) for (let i = 0; i < run; i++) out[at + i] = 97 + random.below(4)
    else if (shape === 3) out.set(random.bytes(run), at)
    at += run
  }
  return out
}
