import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Caller } from '#model/orbit.ts'
import { type OrbitFixture, openOrbit, PLAIN } from './orbit.fixtures.ts'
import type { CopyOptions, ObjectAttributes } from './orbit.ts'

const { signal } = new AbortController()
const pathOf = ({ account }: OrbitFixture, object: string, container = 'c') => ({
  account,
  container,
  object,
})

function copy(
  fixture: OrbitFixture,
  [from, to]: readonly [string, string],
  options: Partial<CopyOptions> = {},
  caller: Caller = fixture.owner,
) {
  const { objects } = fixture.orbit
  return objects.copy(caller, pathOf(fixture, from), pathOf(fixture, to), {
    attributes: PLAIN,
    signal,
    ...options,
  })
}
const rename = (fixture: OrbitFixture, from: string, to: string, replace = true) =>
  fixture.orbit.objects.rename(fixture.owner, pathOf(fixture, from), pathOf(fixture, to), { replace })

const OLD: ObjectAttributes = {
  contentType: 'text/x-old',
  headers: { 'content-encoding': 'gzip', 'cache-control': 'no-store' },
  metadata: { color: 'red', shape: 'round' },
}

test('copy: the same bytes and attributes under another name, without moving any', async () => {
  await using fixture = await openOrbit()
  const { contents } = fixture
  for (const [name, bytes] of [
    ['small', 'hello'],
    ['large', Buffer.alloc(100_000, 'x')],
    ['empty', ''],
  ] as const) {
    await fixture.put(name, bytes, { attributes: OLD })
    const manifests = contents.manifests.size
    const { info, source } = await copy(fixture, [name, `${name} 2`])
    assert.equal(info.etag, source.etag)
    assert.ok(info.modifiedAt > source.modifiedAt)
    assert.deepEqual(
      [info.contentType, info.headers, info.metadata],
      [OLD.contentType, OLD.headers, OLD.metadata],
    )
    assert.equal(await fixture.read(`${name} 2`), await fixture.read(name))
    assert.equal(contents.manifests.size, manifests)
  }
  assert.equal(contents.open, 0)
})

test('copy: what the request says goes over what the source has', async () => {
  await using fixture = await openOrbit()
  const deleteAt = Math.floor(fixture.clock.at / 1e6) + 100
  await fixture.put('a', 'a', { attributes: { ...OLD, deleteAt } })
  const attributes = {
    contentType: 'text/new',
    headers: { 'cache-control': 'private' },
    metadata: { color: 'blue' },
  }
  const { info } = await copy(fixture, ['a', 'b'], { attributes })
  assert.equal(info.contentType, 'text/new')
  assert.deepEqual(info.headers, { 'content-encoding': 'gzip', 'cache-control': 'private' })
  assert.deepEqual(info.metadata, { color: 'blue', shape: 'round' })
  assert.equal(info.deleteAt, deleteAt)
})

test('copy: a fresh one keeps nothing but the type', async () => {
  await using fixture = await openOrbit()
  const deleteAt = Math.floor(fixture.clock.at / 1e6) + 100
  await fixture.put('a', 'a', { attributes: { ...OLD, deleteAt } })
  const { info } = await copy(fixture, ['a', 'b'], {
    fresh: true,
    attributes: { headers: {}, metadata: { x: 'y' } },
  })
  assert.equal(info.contentType, OLD.contentType)
  assert.deepEqual([info.headers, info.metadata, info.deleteAt], [{}, { x: 'y' }, undefined])
})

test('copy: an object onto itself changes its type', async () => {
  await using fixture = await openOrbit()
  for (const bytes of ['small', Buffer.alloc(50_000, 'y')]) {
    await fixture.put('a', bytes, { attributes: OLD })
    await copy(fixture, ['a', 'a'], { attributes: { ...PLAIN, contentType: 'text/new' } })
    assert.equal(await fixture.read('a'), bytes.toString())
    const { contentType } = await fixture.orbit.objects.show(fixture.owner, pathOf(fixture, 'a'))
    assert.equal(contentType, 'text/new')
  }
  const { objectCount, bytesUsed } = await fixture.orbit.containers.show(fixture.owner, {
    account: fixture.account,
    container: 'c',
  })
  assert.deepEqual([objectCount, bytesUsed], [1, 50_000])
})

test('copy: a range of the source is an object of its own', async () => {
  await using fixture = await openOrbit()
  await fixture.put('a', '0123456789', { attributes: OLD })
  const { info, source } = await copy(fixture, ['a', 'b'], { range: { offset: 2, length: 3 } })
  assert.deepEqual([info.size, source.size, info.metadata], [3, 10, OLD.metadata])
  assert.equal(await fixture.read('b'), '234')
})

test('copy: it needs the source, the target and rights in both', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  await fixture.put('a', 'a')
  const options = { attributes: PLAIN, signal }
  const missing = pathOf(fixture, 'a', 'missing')
  await assert.rejects(copy(fixture, ['none', 'b']), { kind: 'not_found' })
  await assert.rejects(orbit.objects.copy(owner, missing, pathOf(fixture, 'b'), options), {
    kind: 'not_found',
  })
  await assert.rejects(orbit.objects.copy(owner, pathOf(fixture, 'a'), missing, options), {
    kind: 'not_found',
  })
  await assert.rejects(copy(fixture, ['a', 'b'], {}, other), { kind: 'denied' })
  const allow = (change: { read?: string; write?: string }) =>
    orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, ...change })
  await allow({ read: other.session?.accountId ?? '' })
  await assert.rejects(copy(fixture, ['a', 'b'], {}, other), { kind: 'denied' })
  await allow({ write: other.session?.accountId ?? '' })
  await copy(fixture, ['a', 'b'], {}, other)
  await allow({ read: '' })
  await assert.rejects(copy(fixture, ['a', 'b'], {}, other), { kind: 'denied' })
})

test('copy: merged metadata keeps to the limits, and a quota holds', async () => {
  await using fixture = await openOrbit()
  const many = (letter: string) =>
    Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`${letter}${index}`, 'v']))
  await fixture.put('a', 'aaaa', { attributes: { headers: {}, metadata: many('a') } })
  await assert.rejects(copy(fixture, ['a', 'b'], { attributes: { headers: {}, metadata: many('b') } }), {
    kind: 'invalid',
    message: 'Too many metadata items; max 90',
  })
  const container = { account: fixture.account, container: 'c' }
  await fixture.orbit.containers.update(fixture.owner, container, { metadata: { 'quota-bytes': '7' } })
  await assert.rejects(copy(fixture, ['a', 'b']), { kind: 'quota' })
  assert.deepEqual(await fixture.names(), ['a'])
})

test('rename: the object is under its new name at once, with all it has', async () => {
  await using fixture = await openOrbit()
  await fixture.put('a', Buffer.alloc(50_000, 'z'), { attributes: OLD })
  await fixture.put('b', 'old')
  await rename(fixture, 'a', 'b')
  assert.deepEqual(await fixture.names(), ['b'])
  const { metadata, size } = await fixture.orbit.objects.show(fixture.owner, pathOf(fixture, 'b'))
  assert.deepEqual([metadata, size], [OLD.metadata, 50_000])
  await fixture.put('small', 'inline')
  await rename(fixture, 'small', 'tiny', false)
  assert.equal(await fixture.read('tiny'), 'inline')
})

test('rename: it replaces only where it may', async () => {
  await using fixture = await openOrbit()
  await fixture.put('a', 'a')
  await fixture.put('b', 'b')
  await assert.rejects(rename(fixture, 'a', 'b', false), { kind: 'conflict' })
  await assert.rejects(rename(fixture, 'none', 'b'), { kind: 'not_found' })
  await rename(fixture, 'a', 'a', false)
  assert.equal(await fixture.read('a'), 'a')
  assert.equal(await fixture.read('b'), 'b')
  await assert.rejects(rename(fixture, 'a', 'x'.repeat(1025)), { kind: 'invalid' })
})

test('rename: one that fails leaves both names as they were', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  await fixture.put('a', 'aaaa')
  const full = { account, container: 'full' }
  await orbit.containers.put(owner, full, { metadata: { 'quota-bytes': '3' } })
  const to = pathOf(fixture, 'a', 'full')
  await assert.rejects(orbit.objects.rename(owner, pathOf(fixture, 'a'), to, { replace: true }), {
    kind: 'quota',
  })
  assert.equal(await fixture.read('a'), 'aaaa')
  assert.equal((await orbit.containers.show(owner, full)).objectCount, 0)
})

test('rename: inside a container that is full it takes no more room', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  await fixture.put('a', 'aaaa')
  const metadata = { 'quota-bytes': '4', 'quota-count': '1' }
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata })
  await rename(fixture, 'a', 'b', false)
  assert.equal(await fixture.read('b'), 'aaaa')
})

test('rename: it needs the right to read and to write', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  await fixture.put('a', 'a')
  const attempt = () =>
    orbit.objects.rename(other, pathOf(fixture, 'a'), pathOf(fixture, 'b'), { replace: true })
  await assert.rejects(attempt(), { kind: 'denied' })
  const them = other.session?.accountId ?? ''
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, write: them })
  await assert.rejects(attempt(), { kind: 'denied' })
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, read: them })
  await attempt()
  assert.deepEqual(await fixture.names(), ['b'])
})
