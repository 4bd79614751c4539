import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { admitsGroup, admitsReferrer, cleanAccessList, parseAccessList } from './access-list.ts'

const cleaned = (text: string) => {
  const list = cleanAccessList('read', text)
  assert.ok(list.ok, list.ok ? '' : list.problem)
  return list.text
}
const problem = (kind: 'read' | 'write', text: string) => {
  const list = cleanAccessList(kind, text)
  return list.ok ? `accepted as ${list.text}` : list.problem
}
const admits = (text: string, referrer: string | undefined) =>
  admitsReferrer(parseAccessList(cleaned(text)), referrer)

test('access list: what is messy is stored clean', () => {
  const cases = {
    '': '',
    ' , ,': '',
    'acc-00001, acc-00002': 'acc-00001,acc-00002',
    'a , b': 'a,b',
    'a,,,b': 'a,b',
    'a,a': 'a,a',
    '.referrer : *': '.r:*',
    '.ref:*.example.com': '.r:.example.com',
    '.referer: - *.example.com': '.r:-.example.com',
    '.r:*, .rlistings': '.r:*,.rlistings',
    '.r:**.example.com': '.r:.example.com',
    'acc-00001:cli-00001': 'acc-00001:cli-00001',
    'acc%2D00001': 'acc%2D00001',
    '.r:http': '.r:http',
  }
  for (const [messy, clean] of Object.entries(cases)) assert.equal(cleaned(messy), clean, messy)
})

test('access list: bytes of letters are not taken for space', () => {
  assert.equal(cleaned('caf\xc3\xa0, \xc2\x85'), 'caf\xc3\xa0,\xc2\x85')
})

test('access list: what is none is refused in words that clients know', () => {
  const empty = (raw: string) => `No host/domain value after referrer designation in ACL: '${raw}'`
  assert.equal(problem('read', '.r:'), empty('.r:'))
  assert.equal(problem('read', 'a,.r: '), empty('.r:'))
  assert.equal(problem('read', '.r:-'), empty('.r:-'))
  assert.equal(problem('read', '.r:*.'), empty('.r:*.'))
  assert.equal(problem('write', '.r:*'), "Referrers not allowed in write ACL: '.r:*'")
  assert.equal(problem('write', 'a, .referer : *'), "Referrers not allowed in write ACL: '.referer : *'")
  assert.equal(problem('read', '.bad:*'), "Unknown designator '.bad' in ACL: '.bad:*'")
  assert.equal(problem('read', ".ba'd:*"), `Unknown designator ".ba'd" in ACL: ".ba'd:*"`)
})

test('access list: cleaning twice is cleaning once, and keeps its meaning', () => {
  const piece = fc.constantFrom(
    '.r',
    '.ref',
    ':',
    '*',
    '-',
    '.',
    ' ',
    ',',
    'a',
    'acc-00001',
    '.rlistings',
    '%2c',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const first = cleanAccessList('read', pieces.join(''))
      if (first.ok) assert.deepEqual(cleanAccessList('read', first.text), first)
    }),
  )
})

test('access list: without a referrer item nobody gets in by where he comes from', () => {
  assert.equal(admits('', undefined), false)
  assert.equal(admits('.rlistings,acc-00001', 'example.com'), false)
})

test('access list: the last referrer item that fits decides', () => {
  assert.equal(admits('.r:*', undefined), true)
  assert.equal(admits('.r:*,.r:-thief.com', 'thief.com'), false)
  assert.equal(admits('.r:-thief.com,.r:*', 'thief.com'), true)
  assert.equal(admits('.r:*,.r:-.thief.com', 'www.thief.com'), false)
  assert.equal(admits('.r:*,.r:-.thief.com', 'thief.com'), true)
  assert.equal(admits('.r:.example.com,.r:-bad.example.com', 'good.example.com'), true)
  assert.equal(admits('.r:.example.com,.r:-bad.example.com', 'bad.example.com'), false)
})

test('access list: a referrer has to fit whole, or end with a domain', () => {
  assert.equal(admits('.r:example.com', 'www.example.com'), false)
  assert.equal(admits('.r:example.com', 'EXAMPLE.com'), true)
  assert.equal(admits('.r:.example.com', 'notexample.com'), false)
  assert.equal(admits('.r:example.com', undefined), false)
  assert.equal(admits('.r:unknown', undefined), true)
})

test('access list: groups are compared exactly, once decoded', () => {
  const list = parseAccessList('acc-00001:cli-00001,acc%2d00002,.rlistings,x%zz')
  assert.equal(list.listings, true)
  assert.equal(admitsGroup(list, ['acc-00001:cli-00001']), true)
  assert.equal(admitsGroup(list, ['acc-00002', 'other']), true)
  assert.equal(admitsGroup(list, ['x%zz']), true)
  assert.equal(admitsGroup(list, ['acc-00001', 'acc-00001:cli-00002', '']), false)
  assert.equal(admitsGroup(parseAccessList(''), ['']), false)
})
