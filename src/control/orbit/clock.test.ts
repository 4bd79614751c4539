import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClock } from './clock.ts'

test('clock: rises by ten microseconds while the time stands still or goes back, then follows it', () => {
  const times = [1000, 1000, 999, 1000.0123, 1001, 1000]
  const clock = createClock(() => times.shift() ?? Number.NaN)
  assert.deepEqual(
    Array.from({ length: 6 }, () => clock()),
    [1_000_000, 1_000_010, 1_000_020, 1_000_030, 1_001_000, 1_001_010],
  )
})

test('clock: every time is exact today, different, and a multiple of ten', () => {
  const clock = createClock(Date.now)
  let last = 0
  for (let count = 0; count < 10_000; count++) {
    const at = clock()
    assert.ok(Number.isSafeInteger(at) && at % 10 === 0 && at > last)
    last = at
  }
  assert.ok(Math.abs(last / 1000 - Date.now()) < 1000)
})
