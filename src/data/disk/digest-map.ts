import type { Digest } from '#data/store/store.ts'

const WORDS = 8
const INITIAL_SLOTS = 1024

/**
 * Digests, each with a number from 1 to 2^32 - 1, at 36 bytes a slot and at most two thirds of the slots in use:
 * a million digests take 72 MiB at most.
 */
export class DigestMap {
  #digests = new Uint32Array(INITIAL_SLOTS * WORDS)
  /** 0 marks a free slot. */
  #values = new Uint32Array(INITIAL_SLOTS)
  #size = 0
  readonly #key = new Uint32Array(WORDS)

  get size(): number {
    return this.#size
  }

  set(digest: Digest, value: number): void {
    if ((this.#size + 1) * 3 > this.#values.length * 2) this.#grow()
    const slot = this.#find(this.#parse(digest))
    if (this.#values[slot] === 0) {
      this.#digests.set(this.#key, slot * WORDS)
      this.#size++
    }
    this.#values[slot] = value
  }

  /** @returns 0 where it is not in the map */
  get(digest: Digest): number {
    return this.#values[this.#find(this.#parse(digest))] ?? 0
  }

  has(digest: Digest): boolean {
    return this.get(digest) !== 0
  }

  *entries(): Generator<readonly [Digest, number]> {
    for (let slot = 0; slot < this.#values.length; slot++) {
      const value = this.#values[slot] ?? 0
      if (value === 0) continue
      const words = this.#digests.subarray(slot * WORDS, (slot + 1) * WORDS)
      yield [Array.from(words, (word) => word.toString(16).padStart(8, '0')).join(''), value]
    }
  }

  #parse(digest: Digest): Uint32Array {
    for (let word = 0; word < WORDS; word++)
      this.#key[word] = Number.parseInt(digest.slice(word * 8, word * 8 + 8), 16)
    return this.#key
  }

  /** The slot that holds `key`, or the free one where it belongs. */
  #find(key: Uint32Array): number {
    const mask = this.#values.length - 1
    // A digest's words are random already. The first is left to partitions, which would crowd the slots.
    let slot = (key[1] ?? 0) & mask
    while (this.#values[slot] !== 0 && !this.#holds(slot, key)) slot = (slot + 1) & mask
    return slot
  }

  #holds(slot: number, key: Uint32Array): boolean {
    for (let word = 0; word < WORDS; word++)
      if (this.#digests[slot * WORDS + word] !== key[word]) return false
    return true
  }

  #grow(): void {
    const digests = this.#digests
    const values = this.#values
    this.#digests = new Uint32Array(digests.length * 2)
    this.#values = new Uint32Array(values.length * 2)
    for (let slot = 0; slot < values.length; slot++) {
      const value = values[slot] ?? 0
      if (value === 0) continue
      const key = digests.subarray(slot * WORDS, (slot + 1) * WORDS)
      const target = this.#find(key)
      this.#digests.set(key, target * WORDS)
      this.#values[target] = value
    }
  }
}
