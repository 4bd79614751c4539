import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LibraryError } from '#base/errors.ts'
import { createObjectFinder } from './find-object.ts'
import { openOrbit, PLAIN } from './orbit.fixtures.ts'
import type { Orbit, TempUrlRequest } from './orbit.ts'

const ASKER = { host: 'lib.example:8080', ip: '192.0.2.7' }
const QUERY = '?temp_url_sig=abc&temp_url_expires=99&filename=x'

async function open(right = true) {
  const fixture = await openOrbit()
  const { account } = fixture
  const requests: TempUrlRequest[] = []
  const tempUrls: Orbit['tempUrls'] = {
    async verify(request) {
      requests.push(request)
      return right ? { accountId: account, container: 'c', access: 'read' } : undefined
    },
  }
  const find = createObjectFinder({
    orbit: { objects: fixture.orbit.objects, tempUrls },
    hosts: () => ['orbit.example'],
  })
  return {
    ...fixture,
    requests,
    find,
    url: (name: string, query = QUERY) => `https://orbit.example/v1/${account}/c/${name}${query}`,
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  }
}

const refusal = (pattern: RegExp) => (error: LibraryError) => {
  assert.equal(error.code, 'invalid')
  assert.match(error.message, pattern)
  return true
}

test('a temporary URL of ours gives the object, pinned until it is disposed of', async () => {
  await using at = await open()
  await at.put('a b/é', Buffer.alloc(40_000, 7))
  const found = await at.find(at.url('a%20b/%C3%A9'), ASKER)
  assert.equal(found?.parts[0]?.length, 40_000)
  assert.match(found?.etag ?? '', /^"[0-9a-f]{32}"$/)
  assert.match(found?.lastModified ?? '', / GMT$/)
  assert.equal(at.pinned.length, 1)
  await found?.[Symbol.asyncDispose]()
  assert.equal(at.pinned.length, 0)
  assert.deepEqual(at.requests, [
    {
      method: 'GET',
      path: `/v1/${at.account}/c/a b/é`,
      signature: 'abc',
      expires: '99',
      prefix: undefined,
      ipRange: undefined,
      clientIp: '192.0.2.7',
    },
  ])
})

test('names with dots, double slashes and percent signs are taken as they are', async () => {
  await using at = await open()
  for (const [written, name] of [
    ['../x', '../x'],
    ['a//b', 'a//b'],
    ['.%2Fy', './y'],
    ['100%25', '100%'],
  ] as const) {
    await at.put(name, 'bytes')
    await using found = await at.find(at.url(written), ASKER)
    assert.equal(found?.parts[0]?.length, 5, written)
  }
})

test('ours is what is sent to our hosts, or to the host that the request came to, over http or https', async () => {
  await using at = await open()
  await at.put('o', 'x')
  const path = `/v1/${at.account}/c/o${QUERY}`
  for (const origin of ['http://orbit.example', 'http://LIB.example:8080', 'https://orbit.example:443'])
    assert.ok(await at.find(origin + path, ASKER), origin)
  for (const origin of ['http://other.example', 'http://lib.example', 'ftp://orbit.example', 'nonsense'])
    assert.equal(await at.find(origin + path, ASKER), undefined, origin)
  assert.equal(await at.find(`http://lib.example:8080${path}`, undefined), undefined)
  assert.equal(await at.find('http://orbit.example/1.0/images/img-12345', ASKER), undefined)
})

test('what opens nothing is refused, naming http_url', async () => {
  await using at = await open()
  await at.put('o', 'x')
  await assert.rejects(
    at.find(at.url('none'), ASKER),
    refusal(/^http_url names an object that does not exist$/),
  )
  await assert.rejects(
    at.find(at.url('o', ''), ASKER),
    refusal(/^http_url names an object that not everybody/),
  )
  await assert.rejects(at.find(at.url('', ''), ASKER), refusal(/^http_url names no object/))
  await assert.rejects(at.find(at.url('%ff'), ASKER), refusal(/^http_url is not percent-encoded UTF-8$/))
  await using wrong = await open(false)
  const expected = refusal(/^http_url has a signature that is wrong or has expired$/)
  await assert.rejects(wrong.find(wrong.url('none'), ASKER), expected)
  const half = '?temp_url_expires=99'
  await assert.rejects(wrong.find(wrong.url('none', half), ASKER), expected)
})

test('an object that everybody may read needs no signature', async () => {
  await using at = await open()
  await at.put('o', 'x')
  const container = { account: at.account, container: 'c' }
  await at.orbit.containers.update(at.owner, container, { metadata: {}, read: '.r:*' })
  assert.ok(await at.find(at.url('o', ''), ASKER))
})

test('a large object of which a segment is gone is refused', async () => {
  await using at = await open()
  await at.put('s/1', Buffer.alloc(30_000, 1))
  await at.put('s/2', Buffer.alloc(30_000, 2))
  const entry = (path: string) => ({ kind: 'segment', path }) as const
  const target = { account: at.account, container: 'c', object: 'large' }
  const manifest = { entries: [entry('/c/s/1'), entry('/c/s/2')] }
  await at.orbit.objects.putStatic(at.owner, target, PLAIN, manifest)
  await using found = await at.find(at.url('large'), ASKER)
  assert.equal(found?.parts.length, 2)
  await at.orbit.objects.remove(at.owner, { ...target, object: 's/2' })
  await assert.rejects(
    at.find(at.url('large'), ASKER),
    refusal(/^http_url names an object that cannot be read: /),
  )
})
