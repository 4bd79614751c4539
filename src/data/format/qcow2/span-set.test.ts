import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GiB } from '#base/bytes.ts'
import { SpanSet } from './span-set.ts'

test('SpanSet: what overlaps is told, in any order, as a list of all spans would', () => {
  const span = fc.tuple(fc.integer({ min: 0, max: 4000 }), fc.integer({ min: 1, max: 12 }))
  // Around a region's border, so that spans are split there.
  const base = 2 * GiB - 2000
  fc.assert(
    fc.property(fc.array(span, { maxLength: 2500, size: 'max' }), (spans) => {
      const set = new SpanSet()
      const used = new Uint8Array(5000)
      for (const [start, length] of spans) {
        const end = start + length
        const isFree = !used.subarray(start, end).includes(1)
        assert.equal(set.overlaps(base + start, base + end), !isFree)
        assert.equal(set.add(base + start, base + end), isFree)
        if (isFree) used.fill(1, start, end)
      }
    }),
    { numRuns: 60 },
  )
})

test('SpanSet: many separate spans in scattered order are all found, and their gaps are free', () => {
  const set = new SpanSet()
  const count = 40_000
  for (let index = 0; index < count; index++) {
    const place = (index * 7919) % count
    assert.ok(set.add(place * 100_000, place * 100_000 + 60_000))
  }
  for (let place = 0; place < count; place++) {
    const start = place * 100_000
    assert.ok(set.overlaps(start, start + 1) && set.overlaps(start + 59_999, start + 60_001))
    assert.ok(!set.overlaps(start + 60_000, start + 100_000))
    assert.ok(!set.add(start + 59_999, start + 60_001))
  }
})

test('SpanSet: a file packed without gaps needs next to no memory, in whatever order', () => {
  const set = new SpanSet()
  const count = 300_000
  const before = process.memoryUsage().arrayBuffers
  // Threads finish nearly in order.
  for (let index = 0; index < count; index++)
    assert.ok(set.add((index ^ 13) * 3000, (index ^ 13) * 3000 + 3000))
  assert.ok(process.memoryUsage().arrayBuffers - before < 256 * 1024)
  assert.ok(set.overlaps(0, 1) && set.overlaps(count * 3000 - 1, count * 3000))
  assert.ok(!set.overlaps(count * 3000, count * 3000 + 1))
})

test('SpanSet: a hostile number of separate spans is refused', () => {
  const set = new SpanSet({ maxLeaves: 100 })
  const fill = (count: number) => {
    for (let index = 0; index < count; index++) set.add(index * 20, index * 20 + 10)
  }
  assert.throws(() => fill(1_000_000), { category: 'memory-limit' })
  assert.ok(set.overlaps(40_000 * 20, 40_000 * 20 + 1))
})
