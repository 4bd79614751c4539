import assert from 'node:assert/strict'
import { test } from 'node:test'
import { originOf } from './host.ts'

test('host: a name or an address, with or without a port, becomes an origin', () => {
  const cases = [
    ['images.example.org', 'http://images.example.org'],
    ['Images.example.org:80', 'http://images.example.org'],
    ['my_container:8080', 'http://my_container:8080'],
    ['127.0.0.1:65535', 'http://127.0.0.1:65535'],
    ['[::1]:8080', 'http://[::1]:8080'],
  ] as const
  for (const [host, origin] of cases) assert.equal(originOf({ protocol: 'http', host }), origin)
})

test('host: what is no host is refused', () => {
  const cases = [
    '',
    'a:b',
    '[',
    '[::1',
    '::1',
    'a:99999',
    'x:1:2',
    '[x]',
    '[::1]x',
    'a/b',
    'a@b',
    'a b',
    '256.1.1.1',
  ]
  for (const host of cases) {
    assert.throws(() => originOf({ protocol: 'http', host }), { name: 'bad_request', status: 400 }, host)
  }
})
