import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AddedBlocks } from './added-blocks.ts'

test('added blocks: one that was under way twice is counted once, and others each', () => {
  const added = new AddedBlocks()
  for (const name of ['a', 'b', 'a', 'a', 'c', 'b']) added.add(name, 10)
  assert.equal(added.size, 30)
})

test('added blocks: no more are remembered than can be under way', () => {
  const added = new AddedBlocks()
  for (let name = 0; name < 10_000; name++) added.add(String(name), 1)
  added.add('9999', 1)
  assert.equal(added.size, 10_000)
  // So long ago that it cannot have been under way with this one.
  added.add('0', 1)
  assert.equal(added.size, 10_001)
})
