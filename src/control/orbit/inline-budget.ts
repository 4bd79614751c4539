import type { Part } from '#base/content.ts'
import { Busy } from '#base/shares.ts'

const TOTAL = 256 * 1024 * 1024

/**
 * Bytes that are in memory for as long as somebody reads large objects of small segments: together they have a bound,
 * for how long that is, is up to who reads.
 */
export class InlineBudget {
  #left: number

  constructor(total = TOTAL) {
    this.#left = total
  }

  /**
   * Counts what the parts hold until it is disposed of, which happens once.
   * @throws unavailable where there would be too much
   */
  take(parts: readonly Part[]): Disposable {
    const bytes = inlineBytes(parts)
    if (bytes > this.#left) throw new Busy('too many large objects of small segments are being read')
    this.#left -= bytes
    return {
      [Symbol.dispose]: () => {
        this.#left += bytes
      },
    }
  }
}

/** Segments that are there several times are in memory once. */
function inlineBytes(parts: readonly Part[]): number {
  const held = new Set(parts.map(({ content }) => (content?.kind === 'inline' ? content.bytes : undefined)))
  let sum = 0
  for (const bytes of held) sum += bytes?.length ?? 0
  return sum
}
