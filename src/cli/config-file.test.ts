import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ConfigFile, parseConfig } from './config-file.ts'

const parse = (text: string) => parseConfig(text, 'config')

test('configuration: sections keep their dots, and lines that nobody changed stay as they are', () => {
  const text = '; about me\n[jo@example.com]\n  secret=x y   ; mine\n\n# old\n[core]\ndefault_client = a\n'
  const file = parse(text)
  assert.deepEqual(file.sections, ['jo@example.com', 'core'])
  assert.equal(file.get('jo@example.com', 'secret'), 'x y')
  assert.equal(file.toString(), text)
  file.set('jo@example.com', 'alias', 'jo')
  assert.equal(file.toString(), text.replace('mine\n', 'mine\nalias = jo\n'))
})

test('configuration: a new section comes last, after an empty line', () => {
  const file = parse('[a]\nx = 1\n')
  file.set('b', 'y', '2')
  file.set('b', 'y', '3')
  assert.equal(file.toString(), '[a]\nx = 1\n\n[b]\ny = 3\n')
  file.delete('a')
  assert.deepEqual(file.sections, ['b'])
})

test('configuration: what is set is what is read, by us after writing too', () => {
  const value = fc.string({ minLength: 1, maxLength: 40 }).filter((text) => !/[\r\n]/.test(text))
  fc.assert(
    fc.property(value, (text) => {
      const file = new ConfigFile()
      file.set('section', 'key', text)
      assert.equal(parse(file.toString()).get('section', 'key'), text)
    }),
  )
})

test('configuration: a value cannot bring lines of its own', () => {
  assert.throws(() => new ConfigFile().set('a', 'b', 'c\nsecret = d'), /b must be one line/)
})

test('configuration: a line that is none is named by its number', () => {
  assert.throws(() => parse('[a]\n\nnonsense\n'), /line 3 is neither/)
  assert.throws(() => parse('= x\n'), /line 1 is neither/)
})
