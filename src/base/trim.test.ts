import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { trimBoth, trimEnd } from './trim.ts'

test('trim: takes what a pattern would', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[/ a]*$/), (text) => {
      assert.equal(trimEnd(text, '/ '), text.replace(/[/ ]+$/, ''))
      assert.equal(trimBoth(text, '/ '), text.replace(/^[/ ]+|[/ ]+$/g, ''))
    }),
  )
  assert.deepEqual([trimBoth('', '/'), trimBoth('//', '/'), trimEnd('/a', '/')], ['', '', '/a'])
})

test('trim: a long text takes no longer than it is', () => {
  const text = `a${'/'.repeat(4_000_000)}a`
  assert.equal(trimBoth(text, '/'), text)
})
