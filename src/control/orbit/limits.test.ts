import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkNames, checkObjectMetadata, mergeMetadata } from './limits.ts'

const many = (count: number, value = 'v') =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`n${index}`, value]))
const invalid = (message: string) => ({ kind: 'invalid', message })

test('limits: names are measured in bytes, and may be as long as said', () => {
  checkNames({ container: 'é'.repeat(128), object: 'é'.repeat(512) })
  assert.throws(
    () => checkNames({ container: 'a'.repeat(257) }),
    invalid('Container name length of 257 longer than 256'),
  )
  assert.throws(
    () => checkNames({ container: 'c', object: 'a'.repeat(1025) }),
    invalid('Object name length of 1025 longer than 1024'),
  )
})

test('limits: metadata of objects may be any bytes, and be empty, up to the limits', () => {
  checkObjectMetadata({ ...many(87), ['n'.repeat(128)]: 'v'.repeat(256), '\xff': '\xff', empty: '' })
  assert.throws(() => checkObjectMetadata({ '': 'v' }), invalid('Metadata name cannot be empty'))
  assert.throws(
    () => checkObjectMetadata({ ['n'.repeat(129)]: '' }),
    invalid(`Metadata name too long: x-object-meta-${'n'.repeat(129)}`),
  )
  assert.throws(
    () => checkObjectMetadata({ n: 'v'.repeat(257) }),
    invalid('Metadata value longer than 256: x-object-meta-n'),
  )
  assert.throws(() => checkObjectMetadata(many(91)), invalid('Too many metadata items; max 90'))
  checkObjectMetadata({ ...many(15, 'v'.repeat(256)), rest: 'v'.repeat(4096 - 15 * 258 - 5 - 4) })
  assert.throws(
    () => checkObjectMetadata({ ...many(15, 'v'.repeat(256)), rest: 'v'.repeat(4096 - 15 * 258 - 5 - 3) }),
    invalid('Total metadata too large; max 4096'),
  )
})

test('limits: of accounts and containers hold for all that is there then', () => {
  assert.deepEqual(mergeMetadata('account', { a: '1', b: '2', c: '3' }, { a: null, b: '', d: '4' }), {
    c: '3',
    d: '4',
  })
  const full = many(90)
  assert.throws(
    () => mergeMetadata('container', full, { more: '1' }),
    invalid('Too many metadata items; max 90'),
  )
  mergeMetadata('container', full, { more: '1', n0: null })
  assert.throws(() => mergeMetadata('container', {}, { n: '\xff' }), invalid('Metadata must be valid UTF-8'))
  assert.throws(
    () => mergeMetadata('account', {}, { n: 'v'.repeat(257) }),
    invalid('Metadata value longer than 256: x-account-meta-n'),
  )
})
