import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { Refusal, SourceFailure } from '#base/refusal.ts'
import { isRetryable, retryDelayMs } from './retry.ts'

test('retry: only what may pass is retried', () => {
  assert.equal(isRetryable(new SourceFailure('x', { retryable: true })), true)
  assert.equal(isRetryable(new SourceFailure('x', { retryable: false })), false)
  assert.equal(isRetryable(new Refusal('truncated', 'x')), false)
  assert.equal(isRetryable(new LibraryError('unavailable', 'try again')), true)
  assert.equal(isRetryable(new LibraryError('corrupt', 'x')), false)
  assert.equal(isRetryable(new TypeError('x')), false)
  assert.equal(isRetryable(undefined), false)
})

test('retry: delays double from one to two seconds up to five minutes, and heed the other side up to an hour', () => {
  const least = () => new Uint8Array([0, 0])
  const most = () => new Uint8Array([255, 255])
  assert.deepEqual(
    [1, 2, 3, 4].map((count) => retryDelayMs(count, undefined, least)),
    [1000, 2000, 4000, 8000],
  )
  assert.deepEqual(
    [1, 2, 20].map((count) => retryDelayMs(count, undefined, most)),
    [2000, 4000, 299_998],
  )
  assert.equal(retryDelayMs(1, { retryAfterMs: 60_000 }, least), 60_000)
  assert.equal(retryDelayMs(1, { retryAfterMs: 10 }, least), 1000)
  assert.equal(retryDelayMs(1, { retryAfterMs: 1e12 }, least), 3600_000)
  assert.equal(retryDelayMs(1, { retryAfterMs: Number.NaN }, least), 1000)
})
