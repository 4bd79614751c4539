import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodePath, parsePath, parseQuery } from './path.ts'

const partsOf = (raw: string) => {
  const path = parsePath(raw)
  return 'bad' in path ? path.bad : [path.account, path.container, path.object]
}

test('path: only the first two slashes behind the account separate', () => {
  const cases: [string, unknown][] = [
    ['/v1/acc', ['acc', undefined, undefined]],
    ['/v1/acc//', ['acc', undefined, undefined]],
    ['/v1/acc/c/', ['acc', 'c', undefined]],
    ['/v1/acc/c//', ['acc', 'c', '/']],
    ['/v1/acc/c//o', ['acc', 'c', '/o']],
    ['/v1/acc/c/../o', ['acc', 'c', '../o']],
    ['/v1/acc/c%2Fo', ['acc', 'c', 'o']],
    ['/v1/acc/c/%252F', ['acc', 'c', '%2F']],
    ['/v1/acc/c/100%', ['acc', 'c', '100%']],
    ['/v1/acc/c/%zz%41', ['acc', 'c', '%zzA']],
    ['/v1/acc/c/\xc3\xa9', ['acc', 'c', 'é']],
    ['/v1/acc/c/%EF%BB%BFx', ['acc', 'c', '\ufeffx']],
    ['/v1/acc//o', 'Bad URL'],
    ['/v1//c', 'Bad URL'],
    ['/v1', 'Bad URL'],
    ['/v1/acc/c/%00', 'Invalid UTF8 or contains NULL'],
    ['/v1/acc/c/\xff', 'Invalid UTF8 or contains NULL'],
    ['/v1/acc/c/%ED%A0%80', 'Invalid UTF8 or contains NULL'],
    ['/v1/acc/c/%C0%80', 'Invalid UTF8 or contains NULL'],
  ]
  for (const [raw, expected] of cases) assert.deepEqual(partsOf(raw), expected, raw)
})

test('path: any name comes back from its encoded form', () => {
  const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\0'))
  fc.assert(
    fc.property(name, (object) => {
      assert.deepEqual(partsOf(`/v1/acc/c/${encodePath(object)}`), ['acc', 'c', object])
    }),
  )
})

test('query: as forms write it, the last of a name counts', () => {
  const query = parseQuery('a=1&a=2&b&c=x+y%2B&%C3%A9=%3D&d=%ff&&e=f=g')
  assert.deepEqual(
    [...query],
    [
      ['a', '2'],
      ['b', ''],
      ['c', 'x y+'],
      ['é', '='],
      ['d', undefined],
      ['e', 'f=g'],
    ],
  )
})
