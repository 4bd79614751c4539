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
    if (part.content?.kind === 'inline') this.#inlineBytes += part.content.bytes.length
    if (this.#parts.length > PARTS_MAX || this.#inlineBytes > INLINE_MAX)
      throw new OrbitRefusal('conflict', TOO_MANY)
  }
}

/** The parts that a range of the whole takes. */
export function* cutParts(parts: readonly Part[], offset: number, length: number): Generator<Part> {
  let start = 0
  for (const part of parts) {
    const from = Math.max(offset - start, 0)
    const to = Math.min(offset + length - start, part.length)
    start += part.length
    if (from >= to) continue
    yield part.content
      ? { ...part, offset: part.offset + from, length: to - from }
      : { ...part, length: to - from }
  }
}
