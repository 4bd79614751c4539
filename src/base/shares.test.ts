import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Busy, Shares } from './shares.ts'

test('shares: nobody has more than is left to others, and what is given back is there again', () => {
  const shares = new Shares({ total: 12, busy: 'too many are at it' })
  const fill = (name: string) => {
    const all = []
    for (;;) {
      const share = shares.enter(name)
      try {
        share.add(1)
        all.push(share)
      } catch (error) {
        assert.ok(error instanceof Busy)
        assert.equal(error.message, 'too many are at it')
        return all
      }
    }
  }
  const greedy = fill('a')
  assert.equal(greedy.length, 6)
  assert.deepEqual([fill('b').length, fill('c').length, fill('d').length, fill('e').length], [3, 1, 1, 0])
  for (const share of greedy) share[Symbol.dispose]()
  for (const share of greedy) share[Symbol.dispose]()
  assert.equal(fill('a').length, 3)
})

test('shares: what is refused takes nothing', () => {
  const shares = new Shares({ total: 10, busy: 'too much' })
  using share = shares.enter('a')
  share.add(3)
  assert.throws(() => share.add(3), Busy)
  share.add(2)
  assert.throws(() => shares.enter('b').add(4), Busy)
})
