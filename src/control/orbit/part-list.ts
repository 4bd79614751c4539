import type { Content, Part } from '#base/content.ts'
import { OrbitRefusal } from './orbit.ts'

/** Parts that one object may be read from; each takes some hundred bytes of memory while it is read. */
const PARTS_MAX = 100_000
/** Bytes in them that are not in blocks, and so in memory. */
const INLINE_MAX = 64 * 1024 * 1024

export const TOO_MANY = 'the large object has too many segments to be read as one'

/** The parts of a large object as they are found. @throws conflict where they become too many */
export class PartList {
  readonly #parts: Part[] = []
  /** Where each part begins. */
  readonly #starts: number[] = []
  #size = 0
  #inlineBytes = 0

  get parts(): readonly Part[] {
    return this.#parts
  }

  addWhole(content: Content, size: number): void {
    this.add({ content, offset: 0, length: size })
  }

  addBroken(why: string, length: number): void {
    this.add({ content: undefined, why, length })
  }

  add(part: Part): void {
    if (part.length === 0) return
    this.#parts.push(part)
    this.#starts.push(this.#size)
    this.#size += part.length
    if (part.content?.kind === 'inline') this.#inlineBytes += part.content.bytes.length
    if (this.#parts.length > PARTS_MAX || this.#inlineBytes > INLINE_MAX)
      throw new OrbitRefusal('conflict', TOO_MANY)
  }

  /** As `cutParts`; those before the range cost nothing. */
  cut(offset: number, length: number): Generator<Part> {
    let [low, high] = [0, this.#starts.length - 1]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((this.#starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return cutParts(this.#parts, offset, length, { index: low, start: this.#starts[low] ?? 0 })
  }
}

/**
 * The parts that a range of the whole takes.
 * @param first a part that begins where the range does or before, and where that is
 */
export function* cutParts(
  parts: readonly Part[],
  offset: number,
  length: number,
  first = { index: 0, start: 0 },
): Generator<Part> {
  let { index, start } = first
  for (; start < offset + length; index++) {
    const part = parts[index]
    if (!part) return
    const from = Math.max(offset - start, 0)
    const to = Math.min(offset + length - start, part.length)
    start += part.length
    if (from >= to) continue
    yield part.content
      ? { ...part, offset: part.offset + from, length: to - from }
      : { ...part, length: to - from }
  }
}
