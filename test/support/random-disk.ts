import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'

/** A small seeded generator (mulberry32): numbers from 0 up to, not including, 1. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Fills a buffer as file systems do: runs of zeros, of text-like bytes and of noise. */
export function fillLikeDisk(target: Uint8Array, random: () => number): void {
  let at = 0
  while (at < target.length) {
    const length = Math.min(target.length - at, 512 * Math.ceil(random() ** 3 * 512))
    const kind = random()
    if (kind < 0.3) target.fill(0, at, at + length)
    else if (kind < 0.7) for (let i = 0; i < length; i++) target[at + i] = 97 + Math.floor(random() ** 2 * 26)
    else for (let i = 0; i < length; i++) target[at + i] = random() * 256
    at += length
  }
}

/** Writes a disk of `size` bytes; the same numbers give the same disk. Returns its SHA-256. */
export async function randomDisk(
  path: string,
  { size, random }: { size: number; random: () => number },
): Promise<string> {
  await using file = await open(path, 'w')
  const sum = createHash('sha256')
  const piece = new Uint8Array(1 << 20)
  for (let at = 0; at < size; at += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, size - at))
    if (random() < 0.2) part.fill(0)
    else fillLikeDisk(part, random)
    sum.update(part)
    await file.write(part, 0, part.length, at)
  }
  return sum.digest('hex')
}
