import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { firstMatch, foldName, WORDS_LENGTH_MAX, wordsOf } from './image-words.ts'

describe('words of a name', () => {
  test('begin behind white space and behind signs, and a number is one', () => {
    for (const [name, ...words] of [
      ['Ubuntu 22.04 server', 'ubuntu 22.04 server', '22.04 server', 'server'],
      ['noble-amd64_v2.img 2026-11-23 19:12'].concat(
        'noble-amd64_v2.img 2026-11-23 19:12',
        'amd64_v2.img 2026-11-23 19:12',
        'v2.img 2026-11-23 19:12',
        'img 2026-11-23 19:12',
        '2026-11-23 19:12',
        '19:12',
      ),
      ['50% off', '50% off', 'off'],
      [' (beta)  \u00a0 "x" ', '(beta) "x"', 'beta) "x"', '"x"', 'x"'],
      ['a a', 'a a', 'a'],
      ['😀 cafe\u0301', '😀 café', 'café'],
      ['', ...[]],
    ])
      assert.deepEqual(wordsOf(name ?? ''), words, name)
  })

  test('are compared without case, in every script, and whatever way they are written', () => {
    for (const [one, other] of [
      ['STRASSE', 'Straße'],
      ['ΟΔΟΣ', 'οδος'],
      ['Cafe\u0301', 'CAFÉ'],
      ['ﬁle', 'FILE'],
      ['Ｕｂｕｎｔｕ\u3000２２', 'ubuntu 22'],
      ['  a \t b', 'A B'],
    ])
      assert.equal(foldName(one ?? ''), foldName(other ?? ''))
    assert.notEqual(foldName('cafe'), foldName('café'))
  })

  test('are as many and as long as is bounded, all of them where a name does not grow', () => {
    assert.equal(wordsOf('-a '.repeat(85)).length, 170)
    assert.deepEqual([...new Set(wordsOf('x'.repeat(400)).map((words) => words.length))], [WORDS_LENGTH_MAX])
    // One character, which stands for four words.
    const long = Array.from({ length: 85 }, (_, index) => `\ufdfa${String.fromCodePoint(0x4e00 + index)} `)
    const grown = wordsOf(long.join(''))
    assert.equal(grown.length, 170)
    for (const words of grown) assert.ok([...words].length <= WORDS_LENGTH_MAX)
    const astral = wordsOf('😀'.repeat(300))
    assert.deepEqual(astral, ['😀'.repeat(WORDS_LENGTH_MAX)])
  })

  test('every beginning of a name finds it, by the first of its bytes', () => {
    const character = fc.constantFrom(...'aA1ςΣß. -_%é😀\u{10ffff}ﬁ"'.split(''))
    const name = fc.oneof(fc.string({ unit: character, maxLength: 40 }), fc.string({ unit: 'grapheme' }))
    fc.assert(
      fc.property(name, (text) => {
        const folded = foldName(text)
        assert.equal(foldName(folded), folded)
        for (const words of wordsOf(text)) {
          const beginning = [...words].slice(0, 3).join('').trim()
          const found = firstMatch(text, beginning)
          assert.ok(found !== undefined)
          assert.ok(found.startsWith(beginning))
          assert.ok(Buffer.compare(Buffer.from(found), Buffer.from(words)) <= 0)
        }
        assert.equal(firstMatch(text, `${folded}\u0001`), undefined)
      }),
    )
  })
})
