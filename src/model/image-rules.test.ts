import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ImageStatus } from './image.ts'
import { canChange, canSetStatus, hasBytes, shownStatus } from './image-rules.ts'

const STATUSES: readonly ImageStatus[] = [
  'creating',
  'available',
  'deprecated',
  'unavailable',
  'deleting',
  'deleted',
  'failed',
]

test('image status: nothing becomes creating again, and nothing leaves deleted', () => {
  for (const status of STATUSES) {
    assert.equal(canChange(status, 'creating'), false, status)
    assert.equal(canChange('deleted', status), false, status)
    assert.equal(canChange('failed', status), status === 'deleting', status)
  }
})

test('image status: everything but what is deleted already can be destroyed', () => {
  for (const status of STATUSES) {
    assert.equal(canChange(status, 'deleting'), status !== 'deleting' && status !== 'deleted', status)
  }
})

test('image status: an owner may set available and deprecated, on images that are one of the two', () => {
  const allowed = STATUSES.flatMap((from) =>
    STATUSES.filter((to) => canSetStatus(from, to)).map((to) => `${from}>${to}`),
  )
  assert.deepEqual(allowed, [
    'available>available',
    'available>deprecated',
    'deprecated>available',
    'deprecated>deprecated',
  ])
})

test('image status: only available images are shown as private or public', () => {
  assert.equal(shownStatus({ status: 'available', public: false }), 'private')
  assert.equal(shownStatus({ status: 'available', public: true }), 'public')
  for (const status of STATUSES.filter((status) => status !== 'available')) {
    assert.equal(shownStatus({ status, public: true }), status)
  }
})

test('image status: bytes are there while available or deprecated', () => {
  assert.deepEqual(
    STATUSES.filter((status) => hasBytes({ status })),
    ['available', 'deprecated'],
  )
})
