import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Part } from '#base/content.ts'
import { cutParts, PartList } from './part-list.ts'

const inline = (text: string) => ({ kind: 'inline', bytes: Buffer.from(text) }) as const
const textOf = (part: Part) =>
  part.content?.kind === 'inline' && 'offset' in part
    ? Buffer.from(part.content.bytes)
        .toString()
        .slice(part.offset, part.offset + part.length)
    : '?'.repeat(part.length)

test('parts: a range of them reads as that range of the whole', () => {
  const part: fc.Arbitrary<Part> = fc.oneof(
    fc
      .tuple(fc.stringMatching(/^[a-z]{0,9}$/), fc.nat({ max: 9 }), fc.nat({ max: 9 }))
      .map(([text, from, to]) => {
        const offset = Math.min(from, text.length)
        return { content: inline(text), offset, length: Math.min(to, text.length - offset) }
      }),
    fc.nat({ max: 5 }).map((length) => ({ content: undefined, why: 'gone', length })),
  )
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 6 }),
      fc.nat({ max: 60 }),
      fc.nat({ max: 60 }),
      (parts, offset, length) => {
        const whole = parts.map(textOf).join('')
        const cut = [...cutParts(parts, offset, length)]
        assert.equal(cut.map(textOf).join(''), whole.slice(offset, offset + length))
        assert.ok(cut.every((one) => one.length > 0))
        const list = new PartList()
        for (const one of parts) list.add(one)
        assert.deepEqual([...list.cut(offset, length)], cut)
      },
    ),
  )
})

test('parts: empty ones are left out', () => {
  const list = new PartList()
  list.addWhole(inline(''), 0)
  list.addBroken('gone', 0)
  assert.deepEqual(list.parts, [])
})

test('parts: neither their number nor the bytes in them grow without end', () => {
  const list = new PartList()
  assert.throws(
    () => {
      for (let index = 0; index <= 100_000; index++) list.addBroken('gone', 1)
    },
    { kind: 'conflict' },
  )
  const heavy = new PartList()
  const content = { kind: 'inline', bytes: new Uint8Array(16 * 1024) } as const
  assert.throws(
    () => {
      for (let index = 0; index <= 4096; index++) heavy.addWhole(content, content.bytes.length)
    },
    { kind: 'conflict' },
  )
})
