import type { Digest, StoredFile } from '#data/store/store.ts'
import { DigestMap } from './digest-map.ts'

/** Bytes that a digest takes, about, where there are many and the map of them grows. */
export const DIGEST_BYTES = 128
/** Digests that one pass remembers, in about 100 MiB. A store of 1 TiB of different blocks takes one pass or two. */
const DIGESTS_PER_PASS = 1024 * 1024
/** First words of digests lie in [0, END). */
const END = 2 ** 32

/**
 * The digests of one pass over a store: those whose first 32 bits lie in a range. The range shrinks while digests
 * come in, so that no more than `limit` are remembered, however many there are.
 */
export class DigestRange {
  readonly first: number
  #end: number
  #map = new DigestMap()
  readonly #limit: number

  constructor(first: number, end: number, limit: number) {
    this.first = first
    this.#end = end
    this.#limit = limit
  }

  get end(): number {
    return this.#end
  }

  covers(digest: Digest): boolean {
    const word = firstWord(digest)
    return word >= this.first && word < this.#end
  }

  /** Those files of the range, and of no more of the store than that. @param list in the order of digests */
  async *filesOf(list: (after?: Digest) => AsyncIterable<StoredFile>): AsyncGenerator<StoredFile> {
    for await (const file of list(this.first === 0 ? undefined : lastBefore(this.first))) {
      if (firstWord(file.digest) >= this.#end) return
      // Nothing is known here of what belongs to another pass: it must not be taken for what nobody needs.
      if (this.covers(file.digest)) yield file
    }
  }

  /** Remembers a digest with a number above 0, unless it is one for another pass. */
  set(digest: Digest, value: number): void {
    if (!this.covers(digest)) return
    this.#map.set(digest, value)
    while (this.#map.size > this.#limit && this.#end - this.first > 1) this.#shrink()
  }

  /** @returns 0 where it is not remembered */
  get(digest: Digest): number {
    return this.#map.get(digest)
  }

  entries(): Generator<readonly [Digest, number]> {
    return this.#map.entries()
  }

  #shrink(): void {
    this.#end = this.first + Math.ceil((this.#end - this.first) / 2)
    const wider = this.#map
    this.#map = new DigestMap()
    for (const [digest, value] of wider.entries()) if (this.covers(digest)) this.#map.set(digest, value)
  }
}

/**
 * Goes through all digests in as many passes as bounded memory needs.
 * @param fill sets every digest that matters; called once a pass, with the same digests each time
 * @param limit digests that one pass remembers
 */
export async function* digestRanges(
  fill: (range: DigestRange) => Promise<void>,
  limit = DIGESTS_PER_PASS,
): AsyncGenerator<DigestRange> {
  let width = END
  for (let first = 0; first < END; ) {
    const range = new DigestRange(first, Math.min(END, first + width), limit)
    await fill(range)
    yield range
    width = range.end - first
    first = range.end
  }
}

const lastBefore = (word: number): Digest => (word - 1).toString(16).padStart(8, '0').padEnd(64, 'f')

function firstWord(digest: Digest): number {
  return Number.parseInt(digest.slice(0, 8), 16)
}
