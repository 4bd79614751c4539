import { GiB } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'

/** Offsets are kept relative to their region, so that a span takes two 32-bit words. */
const REGION_SIZE = 2 * GiB
const LEAF_SPANS = 512
/** Bounds the memory at 128 MiB: 8 to 16 million spans that touch nowhere. */
const MAX_LEAVES = 32 * 1024

/** Up to LEAF_SPANS spans, ascending: start and end (exclusive) of each. Never empty. */
interface Leaf {
  readonly words: Uint32Array
  count: number
}

/**
 * Disjoint spans of a file's bytes, added in any order; spans that touch become one.
 * A file that is packed without gaps costs a few bytes in all, any other 8 to 16 bytes a span.
 */
export class SpanSet {
  readonly #regions = new Map<number, Leaf[]>()
  readonly #maxLeaves: number
  #leafCount = 0

  /** @param maxLeaves 512 spans each */
  constructor({ maxLeaves = MAX_LEAVES } = {}) {
    this.#maxLeaves = maxLeaves
  }

  /** Whether any byte from `start` up to `end` is in a span. */
  overlaps(start: number, end: number): boolean {
    if (this.#leafCount === 0) return false
    return !byRegion(start, end, (region, from, to) => {
      const leaves = this.#regions.get(region)
      return !leaves || !regionOverlaps(leaves, from, to)
    })
  }

  /**
   * @returns false, and nothing is added, where it overlaps what is here already
   * @throws Refusal memory-limit
   */
  add(start: number, end: number): boolean {
    assert(start < end, 'a span has at least a byte')
    if (this.overlaps(start, end)) return false
    byRegion(start, end, (region, from, to) => {
      let leaves = this.#regions.get(region)
      if (!leaves) {
        leaves = []
        this.#regions.set(region, leaves)
      }
      const before = leaves.length
      insert(leaves, from, to)
      this.#leafCount += leaves.length - before
      return true
    })
    if (this.#leafCount > this.#maxLeaves) {
      throw new Refusal('memory-limit', 'The compressed clusters lie in too many separate places.', {
        hint: 'Copy the image to a new file and register that: qemu-img convert -c -O qcow2.',
      })
    }
    return true
  }
}

/** Calls `visit` for each region's part, until one says false. */
function byRegion(
  start: number,
  end: number,
  visit: (region: number, from: number, to: number) => boolean,
): boolean {
  for (let at = start; at < end; ) {
    const region = Math.floor(at / REGION_SIZE)
    const base = region * REGION_SIZE
    const to = Math.min(end, base + REGION_SIZE)
    if (!visit(region, at - base, to - base)) return false
    at = to
  }
  return true
}

const startOf = (leaf: Leaf, index: number) => leaf.words[2 * index] ?? 0
const endOf = (leaf: Leaf, index: number) => leaf.words[2 * index + 1] ?? 0

/** The count of the leading entries that start at or before `offset`. */
function countUpTo(total: number, offset: number, start: (index: number) => number): number {
  let low = 0
  let high = total
  while (low < high) {
    const middle = (low + high) >>> 1
    if (start(middle) <= offset) low = middle + 1
    else high = middle
  }
  return low
}

/** The leaf where a span that starts at `from` belongs, and its place in it. */
function locate(leaves: readonly Leaf[], from: number): { leaf: Leaf; leafIndex: number; index: number } {
  const after = countUpTo(leaves.length, from, (index) => startOf(leaves[index] as Leaf, 0))
  const leafIndex = Math.max(after - 1, 0)
  const leaf = leaves[leafIndex] as Leaf
  return { leaf, leafIndex, index: countUpTo(leaf.count, from, (index) => startOf(leaf, index)) }
}

function regionOverlaps(leaves: readonly Leaf[], from: number, to: number): boolean {
  const { leaf, leafIndex, index } = locate(leaves, from)
  if (index > 0 && endOf(leaf, index - 1) > from) return true
  if (index < leaf.count) return startOf(leaf, index) < to
  const next = leaves[leafIndex + 1]
  return next !== undefined && startOf(next, 0) < to
}

/** Adds a span that overlaps none. */
function insert(leaves: Leaf[], from: number, to: number): void {
  if (leaves.length === 0) {
    leaves.push(leafOf(Uint32Array.of(from, to)))
    return
  }
  const { leaf, leafIndex, index } = locate(leaves, from)
  const touchesPrevious = index > 0 && endOf(leaf, index - 1) === from
  const touchesNext = index < leaf.count && startOf(leaf, index) === to
  if (touchesPrevious && touchesNext) {
    leaf.words[2 * index - 1] = endOf(leaf, index)
    leaf.words.copyWithin(2 * index, 2 * index + 2, 2 * leaf.count)
    leaf.count--
  } else if (touchesPrevious) {
    leaf.words[2 * index - 1] = to
  } else if (touchesNext) {
    leaf.words[2 * index] = from
  } else if (leaf.count < LEAF_SPANS) {
    leaf.words.copyWithin(2 * index + 2, 2 * index, 2 * leaf.count)
    leaf.words[2 * index] = from
    leaf.words[2 * index + 1] = to
    leaf.count++
  } else {
    // At the end nothing is moved, so that spans in ascending order leave full leaves behind.
    const kept = index === LEAF_SPANS ? LEAF_SPANS : LEAF_SPANS / 2
    const moved = leaf.words.subarray(2 * kept)
    leaves.splice(leafIndex + 1, 0, leafOf(moved.length > 0 ? moved : Uint32Array.of(from, to)))
    leaf.count = kept
    if (moved.length > 0) insert(leaves, from, to)
  }
}

function leafOf(spans: Uint32Array): Leaf {
  const words = new Uint32Array(2 * LEAF_SPANS)
  words.set(spans)
  return { words, count: spans.length / 2 }
}
