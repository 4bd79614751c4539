import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TempUrlRequest } from './orbit.ts'
import { isInRange, isSignedBy, parseExpires, parseSignature, parseTempUrl } from './temp-url-signature.ts'

// Made with Python's hmac over 'GET\n1800000000\n/v1/acc-00001/c/o' and the key 'secret'.
const SHA1 = 'e097663ad17cf237f6357141f834e7f8d479c5f0'
const SHA256 = '8aa96efe5980ad190029b0e828f9047c59bd731d3b2e713381dd4fee2c9bcb24'
const SHA512 = [
  'b4cc714c8044adb1eddc4181c771ec4bc6adf1319983b99bbec97f4b224ea2f1',
  '1034fddd8199fa15c630aece129db063174fb97c5938e2b5731d5a04ccf6b435',
].join('')

const KEY = Buffer.from('secret')
const NOW = 1_799_999_999_000
const REQUEST: TempUrlRequest = {
  method: 'GET',
  path: '/v1/acc-00001/c/o',
  signature: SHA256,
  expires: '1800000000',
  prefix: undefined,
  ipRange: undefined,
  clientIp: '192.0.2.7',
}
function isRight(change: Partial<TempUrlRequest>, { key = KEY, now = NOW } = {}): boolean {
  const url = parseTempUrl({ ...REQUEST, ...change }, now)
  return url !== undefined && isSignedBy(key, url)
}
/** Signs with nothing of the subject. */
const hmac = (digest: string, ...lines: string[]) =>
  createHmac(digest, KEY).update(lines.join('\n')).digest('hex')

test('temporary URL: signatures by each digest, in hex and in Base64', () => {
  for (const signature of [SHA1, SHA256, SHA512]) assert.ok(isRight({ signature }), signature)
  assert.ok(isRight({ signature: 'sha256:iqlu/lmArRkAKbDoKPkEfFm9cx07LnEzgd1P7iybyyQ=' }))
  assert.ok(isRight({ signature: 'sha256:iqlu_lmArRkAKbDoKPkEfFm9cx07LnEzgd1P7iybyyQ=' }))
  assert.ok(isRight({ signature: 'sha256:iqlu_lmArRkAKbDoKPkEfFm9cx07LnEzgd1P7iybyyQ' }))
  assert.ok(isRight({ signature: `sha1:${Buffer.from(SHA1, 'hex').toString('base64')}` }))
  assert.ok(isRight({ signature: `sha512:${Buffer.from(SHA512, 'hex').toString('base64url')}` }))
})

test('temporary URL: a name that is not ASCII is signed as UTF-8', () => {
  const change = {
    method: 'PUT',
    path: '/v1/acc-00001/c/a bä',
    signature: 'f714db0d25d48d6508baf441ace43fd4792aa672',
  }
  assert.ok(isRight(change, { key: Buffer.from('schlüssel') }))
})

test('temporary URL: a prefix opens what begins with it, and an empty one all of the container', () => {
  const prefix = 'pre/'
  const signature = '419bac2531a6b1338fbb9434a28935dfe80c9aaa48a46ac52d44f067faa9da5e'
  assert.ok(isRight({ prefix, signature, path: '/v1/acc-00001/c/pre/x/y' }))
  assert.ok(!isRight({ prefix, signature, path: '/v1/acc-00001/c/other' }))
  assert.ok(!isRight({ prefix, signature, path: '/v1/acc-00001/d/pre/x' }))
  assert.ok(!isRight({ prefix: 'pre', signature, path: '/v1/acc-00001/c/pre/x' }))
  assert.ok(!isRight({ signature, path: '/v1/acc-00001/c/pre/' }))
  const all = hmac('sha1', 'GET', '1800000000', 'prefix:/v1/acc-00001/c/')
  assert.ok(isRight({ prefix: '', signature: all }))
  assert.ok(!isRight({ signature: all }))
})

test('temporary URL: an address range is part of what is signed, and holds', () => {
  const signed = { ipRange: '10.0.0.0/8', signature: 'b457a3526ee19f35e557594886d8bc81ab1d9dd5' }
  assert.ok(isRight({ ...signed, clientIp: '10.9.8.7' }))
  assert.ok(isRight({ ...signed, clientIp: '::ffff:10.9.8.7' }))
  assert.ok(!isRight({ ...signed, clientIp: '11.9.8.7' }))
  assert.ok(!isRight({ ...signed, clientIp: 'nowhere' }))
  assert.ok(!isRight({ ...signed, clientIp: '10.9.8.7', ipRange: undefined }))
  assert.ok(!isRight({ ...signed, clientIp: '10.9.8.7', ipRange: '' }))
  assert.ok(!isRight({ ...signed, clientIp: '10.9.8.7', ipRange: '0.0.0.0/0' }))
  assert.ok(isRight({ ipRange: '' }), 'an empty one is none')
})

test('temporary URL: one that is expired is not right, one of this second is', () => {
  assert.ok(isRight({}, { now: 1_800_000_000_999 }))
  assert.ok(!isRight({}, { now: 1_800_000_001_000 }))
  assert.ok(isRight({ expires: '2027-01-15T08:00:00Z' }))
  assert.ok(!isRight({ expires: '1800000001' }))
})

test('temporary URL: a signature for GET, PUT or POST lets HEAD pass, and nothing else', () => {
  const signatureFor = (method: string) => hmac('sha256', method, '1800000000', REQUEST.path)
  const methods = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'COPY', 'OPTIONS']
  const passing = methods.flatMap((signed) =>
    methods
      .filter((method) => isRight({ method, signature: signatureFor(signed) }))
      .map((method) => `${signed}>${method}`),
  )
  assert.deepEqual(passing, [
    ...['GET>GET', 'GET>HEAD', 'HEAD>HEAD', 'PUT>HEAD', 'PUT>PUT', 'POST>HEAD', 'POST>POST', 'DELETE>DELETE'],
  ])
  assert.ok(!isRight({ method: 'constructor' }))
})

test('temporary URL: only objects of version v1 have any', () => {
  for (const path of [
    ...[
      '/v1/acc-00001/c',
      '/v1/acc-00001/c/',
      '/v1/acc-00001',
      '/v1/acc-00001/c//',
      '/v1//c/o',
      '/v1/acc-00001//o',
    ],
    ...['/v1.0/acc-00001/c/o', '/v2/acc-00001/c/o', 'v1/acc-00001/c/o', '', '/'],
  ]) {
    assert.ok(!isRight({ path, signature: hmac('sha1', 'GET', '1800000000', path) }), path)
  }
  for (const path of ['/v1/acc-00001/c//o', '/v1/acc-00001/c/../x', '/v1/acc-00001/c/a\nb']) {
    assert.ok(isRight({ path, signature: hmac('sha1', 'GET', '1800000000', path) }), path)
  }
})

test('temporary URL: what is missing or no signature is not right', () => {
  for (const signature of [
    ...[
      undefined,
      '',
      'x',
      SHA1.slice(1),
      `${SHA256}0`,
      SHA256.toUpperCase(),
      `md5:${SHA1}`,
      'sha256:',
      `sha1:${SHA1}`,
    ],
    ...['sha256:iqlu/lmArRkAKbDoKPkEfFm9cx07LnEzgd1P7iybyyQ=x', 'sha256:????', ':', 'z'.repeat(40)],
  ]) {
    assert.ok(!isRight({ signature }), signature)
  }
  for (const expires of [
    undefined,
    '',
    'soon',
    '1800000000.5',
    '+1800000000',
    ' 1800000000',
    '-1',
    '9'.repeat(30),
  ]) {
    assert.ok(!isRight({ expires }), expires)
  }
  assert.ok(!isRight({}, { key: Buffer.from('Secret') }))
})

test('temporary URL: a signature with any bit flipped is refused', () => {
  const flip = (hex: string, bit: number) => {
    const bytes = Buffer.from(hex, 'hex')
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return bytes
  }
  fc.assert(
    fc.property(fc.constantFrom(SHA1, SHA256, SHA512), fc.nat(), (hex, at) => {
      const bytes = flip(hex, at % (hex.length * 4))
      const digest = { 20: 'sha1', 32: 'sha256', 64: 'sha512' }[bytes.length]
      assert.ok(!isRight({ signature: bytes.toString('hex') }))
      assert.ok(!isRight({ signature: `${digest}:${bytes.toString('base64')}` }))
    }),
  )
})

test('temporary URL: nothing that is signed can be changed', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.nat({ max: 10_000 }), (more, seconds) => {
      assert.ok(!isRight({ path: `${REQUEST.path}${more}` }))
      assert.ok(!isRight({ expires: String(1_800_000_001 + seconds) }))
    }),
  )
})

test('temporary URL: any text for a signature or a time is read without harm', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      parseSignature(text)
      parseExpires(text)
      isInRange(text, text)
    }),
  )
})

test('temporary URL: times are read as numbers and as dates of the calendar', () => {
  assert.equal(parseExpires('2026-01-02T03:04:05Z'), 1_767_323_045)
  for (const text of ['2026-02-30T00:00:00Z', '2026-01-02', '2026-01-02T03:04:05', '2026-13-01T00:00:00Z'])
    assert.equal(parseExpires(text), undefined, text)
})

test('temporary URL: ranges are addresses or networks of version 4 or 6', () => {
  assert.ok(isInRange('192.0.2.7', '192.0.2.7'))
  assert.ok(!isInRange('192.0.2.8', '192.0.2.7'))
  assert.ok(isInRange('192.0.2.8', '0.0.0.0/0'))
  assert.ok(isInRange('2001:db8::5', '2001:db8::/32'))
  assert.ok(!isInRange('2001:db9::5', '2001:db8::/32'))
  assert.ok(isInRange('2001:db8::5', '2001:db8::5'))
  assert.ok(!isInRange('192.0.2.7', '2001:db8::/32'))
  for (const range of [
    '192.0.2.0/33',
    '192.0.2.0/',
    '192.0.2.0/8/8',
    '192.0.2.0/-1',
    'all',
    '',
    'fe80::1%eth0/64',
  ])
    assert.ok(!isInRange('192.0.2.7', range), range)
})
