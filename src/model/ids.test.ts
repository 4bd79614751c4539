import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { isId, newId, randomText } from './ids.ts'

test('ids: have the prefix and five letters or digits', () => {
  for (let count = 0; count < 200; count++) assert.match(newId('img', randomBytes), /^img-[0-9a-z]{5}$/)
})

test('ids: the same random bytes give the same id, and bytes that would favour some letters are passed over', () => {
  const random = (count: number) =>
    new Uint8Array(count).map((_, index) => [255, 0, 251, 36, 35][index % 5] ?? 0)
  assert.equal(newId('evt', random), 'evt-0z0z0')
})

test('ids: every letter and digit is about as likely', () => {
  const counts = new Map<string, number>()
  for (const letter of randomText(36_000, randomBytes)) counts.set(letter, (counts.get(letter) ?? 0) + 1)
  assert.equal(counts.size, 36)
  for (const [letter, count] of counts) assert.ok(count > 750 && count < 1250, `${letter}: ${count}`)
})

test('ids: other prefixes, lengths, cases and trailing line ends are none', () => {
  assert.equal(isId('img', 'img-3ikco'), true)
  for (const text of [
    '',
    'img-',
    'img-3ikc',
    'img-3ikcoo',
    'img-3IKCO',
    'acc-3ikco',
    'img-3ikco\n',
    '../img-3ikco',
    'img_3ikco',
  ]) {
    assert.equal(isId('img', text), false, JSON.stringify(text))
  }
})
