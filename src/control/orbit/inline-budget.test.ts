import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Part } from '#base/content.ts'
import { InlineBudget } from './inline-budget.ts'

const inline = (length: number): Part => ({
  content: { kind: 'inline', bytes: new Uint8Array(length) },
  offset: 0,
  length,
})

test('inline budget: what is read at once has a bound, and comes back', () => {
  const budget = new InlineBudget(100)
  const first = budget.take([inline(40), inline(20)])
  assert.throws(() => budget.take([inline(41)]), { code: 'unavailable' })
  const second = budget.take([inline(40)])
  assert.throws(() => budget.take([inline(1)]), { code: 'unavailable' })
  budget.take([])[Symbol.dispose]()
  first[Symbol.dispose]()
  second[Symbol.dispose]()
  budget.take([inline(100)])[Symbol.dispose]()
})

test('inline budget: a segment that is there several times counts once, and blocks do not', () => {
  const budget = new InlineBudget(10)
  const part = inline(10)
  const content = { kind: 'manifest', manifest: 'a', form: 'raw', size: 1000 } as const
  budget.take([part, part, { content, offset: 0, length: 1000 }, { content: undefined, why: '', length: 9 }])
})
