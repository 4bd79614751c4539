import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ledger } from './ledger.ts'

test('ledger: an amount counts against all of its keys until it is disposed of', () => {
  const ledger = new Ledger()
  const one = ledger.take(['a', 'b'], 5)
  const other = ledger.take(['a'], 3)
  assert.deepEqual([ledger.sum('a'), ledger.sum('b'), ledger.sum('c')], [8, 5, 0])
  one.set(2)
  assert.deepEqual([ledger.sum('a'), ledger.sum('b'), one.amount], [5, 2, 2])
  other[Symbol.dispose]()
  one[Symbol.dispose]()
  assert.deepEqual([ledger.sum('a'), ledger.sum('b'), one.amount], [0, 0, 0])
})

test('ledger: what is disposed of takes nothing any more, and gives nothing back twice', () => {
  const ledger = new Ledger()
  const one = ledger.take(['a'], 5)
  ledger.take(['a'], 1)
  one[Symbol.dispose]()
  one.set(9)
  one[Symbol.dispose]()
  assert.equal(ledger.sum('a'), 1)
})
