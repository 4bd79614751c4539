import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileNameOf, readDescription, readName } from './attributes.ts'

test('attributes: no text may turn the direction of what stands around it', () => {
  for (const mark of ['\u202a', '\u202e', '\u2066', '\u2069']) {
    for (const read of [readName, readDescription])
      assert.throws(() => read(`disk${mark}gmi.exe`), {
        code: 'invalid',
        message: /turn the direction of text/,
      })
  }
  assert.equal(readName('תמונה \u200f1'), 'תמונה \u200f1')
})

test('attributes: the name of a file has no parameters and nothing that cannot be shown', () => {
  const cases = [
    ['http://h/a/disk.img;sig=SECRET', 'disk.img'],
    ['http://h/a/disk.img%3Bsig=SECRET;v=2', 'disk.img'],
    ['http://h/a/one;two.img', 'one;two.img'],
    ['http://h/a%E2%80%AEb%0A.img', 'ab.img'],
    ['http://h/;sig=SECRET', null],
  ] as const
  for (const [url, name] of cases) assert.equal(fileNameOf(new URL(url)), name, url)
})
