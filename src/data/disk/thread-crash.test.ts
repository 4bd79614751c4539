import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import { crashOf } from './thread-crash.ts'

const withCode = (code: string, more: object = {}) => Object.assign(new Error(code), { code, ...more })

test('crash: a thread that could not read its program is worth another try', () => {
  for (const cause of [
    withCode('EMFILE', { syscall: 'open' }),
    withCode('EIO', { syscall: 'read' }),
    withCode('ERR_INVALID_PACKAGE_CONFIG'),
  ]) {
    const crash = crashOf(cause)
    assert.ok(crash instanceof LibraryError && !(crash instanceof Refusal), cause.code)
    assert.equal(crash.code, 'unavailable')
    assert.equal(crash.cause, cause)
  }
})

test('crash: too much memory is the fault of the image, which is refused', () => {
  assert.ok(crashOf(withCode('ERR_WORKER_OUT_OF_MEMORY')) instanceof Refusal)
})

test('crash: whatever else ends a thread is a bug, and stays what it is', () => {
  for (const bug of [new TypeError('no such thing'), withCode('ENOENT'), undefined, null, 'text']) {
    assert.equal(crashOf(bug), bug)
  }
})
