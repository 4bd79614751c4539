import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { DigestMap } from './digest-map.ts'

const digest = (text: string) => createHash('sha256').update(text).digest('hex')

test('digest map: keeps every digest with its number through growth', () => {
  const map = new DigestMap()
  for (let index = 1; index <= 10_000; index++) map.set(digest(`${index}`), index)
  assert.equal(map.size, 10_000)
  for (let index = 1; index <= 10_000; index++) assert.equal(map.get(digest(`${index}`)), index)
  assert.equal(map.get(digest('0')), 0)
  assert.equal(map.has(digest('0')), false)
})

test('digest map: a digest that is set again keeps one place', () => {
  const map = new DigestMap()
  map.set(digest('a'), 1)
  map.set(digest('a'), 4_294_967_295)
  assert.equal(map.size, 1)
  assert.deepEqual([...map.entries()], [[digest('a'), 4_294_967_295]])
})

test('digest map: digests that differ in one bit, or meet in one slot, are told apart', () => {
  const map = new DigestMap()
  const zeros = '0'.repeat(64)
  const digests = [zeros, `1${zeros.slice(1)}`, `${zeros.slice(1)}1`, `${zeros.slice(1)}8`, 'f'.repeat(64)]
  for (const [index, each] of digests.entries()) map.set(each, index + 1)
  for (const [index, each] of digests.entries()) assert.equal(map.get(each), index + 1)
  assert.deepEqual(new Map(map.entries()), new Map(digests.map((each, index) => [each, index + 1])))
})
