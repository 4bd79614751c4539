import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCounts } from './counts.ts'

test('counts: each name has room for so many, and who leaves twice has left once', () => {
  const counts = createCounts(2)
  const first = counts.enter('a')
  assert.ok(first && counts.enter('a') && counts.enter('b'))
  assert.equal(counts.enter('a'), undefined)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  assert.ok(counts.enter('a'))
  assert.equal(counts.enter('a'), undefined)
  assert.equal(createCounts(0).enter('a'), undefined)
})
