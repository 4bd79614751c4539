import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { ANYBODY, type Caller } from '#model/orbit.ts'
import { EVERYTHING, type OrbitFixture, openOrbit, PLAIN } from './orbit.fixtures.ts'
import type { CopyOptions, StaticEntry } from './orbit.ts'

const { signal } = new AbortController()
const md5 = (text: string) => createHash('md5').update(text).digest('hex')
const at = ({ account }: OrbitFixture, object: string, container = 'c') => ({ account, container, object })
const segment = (object: string, range?: string): StaticEntry => ({
  kind: 'segment',
  path: `/c/${object}`,
  ...(range === undefined ? {} : { range }),
})
const data = (text: string): StaticEntry => ({ kind: 'data', bytes: Buffer.from(text) })

const putStatic = (fixture: OrbitFixture, name: string, entries: StaticEntry[], etag?: string) =>
  fixture.orbit.objects.putStatic(fixture.owner, at(fixture, name), PLAIN, {
    entries,
    ...(etag === undefined ? {} : { etag }),
  })

const putDynamic = (fixture: OrbitFixture, name: string, dynamicManifest: string, bytes = '') =>
  fixture.put(name, bytes, { attributes: { ...PLAIN, dynamicManifest } })

const copy = (fixture: OrbitFixture, from: string, to: string, options: Partial<CopyOptions> = {}) =>
  fixture.orbit.objects.copy(fixture.owner, at(fixture, from), at(fixture, to), {
    attributes: PLAIN,
    signal,
    ...options,
  })

/** What each part of an object is: its bytes as text, or why there are none. */
async function partsOf(fixture: OrbitFixture, name: string, caller = fixture.owner): Promise<string[]> {
  const { orbit, contents } = fixture
  await using located = await orbit.objects.locate(caller, at(fixture, name))
  const total = located.parts.reduce((sum, { length }) => sum + length, 0)
  assert.equal(total, located.info.size)
  return Promise.all(
    located.parts.map(async (part) => {
      if (!part.content) return part.why
      await using reader = await contents.openReader([part])
      const chunks = await Array.fromAsync(reader.read(0, part.length, signal))
      return Buffer.concat(chunks).toString()
    }),
  )
}

test('static large object: its segments, ranges of them and data are read one behind the other', async () => {
  await using fixture = await openOrbit()
  const a = await fixture.put('a', 'aaaa')
  const b = await fixture.put('b', '0123456789')
  const entries = [segment('a'), segment('b', '2-4'), data('tail'), segment('a')]
  const info = await putStatic(fixture, 'o', entries)
  assert.equal(info.etag, md5(`${a}${b}:2-4;${md5('tail')}${a}`))
  assert.deepEqual([info.size, info.large], [15, 'static'])
  assert.equal(await fixture.read('o'), 'aaaa234tailaaaa')
  const shown = await fixture.orbit.objects.show(fixture.owner, at(fixture, 'o'))
  assert.deepEqual([shown.size, shown.etag, shown.large], [15, info.etag, 'static'])
})

test('static large object: the container counts its manifest, and its row tells of both', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  await fixture.put('a', 'aaaa')
  const { etag, manifestEtag } = await putStatic(fixture, 'o', [segment('a'), segment('a')])
  const { info, rows } = await orbit.containers.list(owner, { account, container: 'c' }, EVERYTHING)
  const stored = await orbit.objects.show(owner, at(fixture, 'o'), { manifest: true })
  assert.equal(info.bytesUsed, 4 + stored.size)
  assert.equal(stored.etag, manifestEtag)
  const row = rows.find(({ name }) => name === 'o')
  assert.ok(row?.kind === 'object')
  assert.deepEqual([row.bytes, row.hash, row.sloEtag], [8, manifestEtag, etag])
})

test('static large object: in a container that is full it may still be replaced', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  await fixture.put('a', 'aaaa')
  await putStatic(fixture, 'o', [segment('a')])
  const container = { account, container: 'c' }
  const { bytesUsed } = await orbit.containers.show(owner, container)
  const metadata = { 'quota-count': '2', 'quota-bytes': String(bytesUsed) }
  await orbit.containers.update(owner, container, { metadata })
  await putStatic(fixture, 'o', [segment('a')])
  await assert.rejects(putStatic(fixture, 'o', [segment('a'), segment('a')]), { kind: 'quota' })
  await assert.rejects(putStatic(fixture, 'p', [segment('a')]), { kind: 'quota' })
})

test('static large object: the manifest that is shown is the one that is stored', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, contents } = fixture
  await fixture.put('a', 'aaaa')
  // Too long to be kept with the row.
  await putStatic(
    fixture,
    'o',
    Array.from({ length: 200 }, () => segment('a')),
  )
  await using located = await orbit.objects.locate(owner, at(fixture, 'o'), { manifest: true })
  await using reader = await contents.openReader(located.parts)
  const chunks = await Array.fromAsync(reader.read(0, located.info.size, signal))
  assert.equal(md5(Buffer.concat(chunks).toString()), located.info.etag)
  const { segments, info } = await orbit.objects.showStatic(owner, at(fixture, 'o'))
  assert.equal(segments.length, 200)
  assert.equal(info.manifestEtag, located.info.etag)
  assert.equal((await fixture.read('o')).length, 800)
})

test('static large object: an ETag that is not its own, and segments that are not right, make none', async () => {
  await using fixture = await openOrbit()
  const etag = await fixture.put('a', 'aaaa')
  await assert.rejects(putStatic(fixture, 'o', [segment('a')], md5('other')), { kind: 'mismatch' })
  await putStatic(fixture, 'o', [segment('a')], `"${md5(etag)}"`)
  const wrong = { kind: 'segment', path: '/c/a', size: 5, etag: md5('b') } as const
  await assert.rejects(putStatic(fixture, 'p', [wrong, segment('none'), { ...wrong, path: '/none/a' }]), {
    kind: 'invalid',
    problems: [
      ['/c/a', 'Size Mismatch'],
      ['/c/a', 'Etag Mismatch'],
      ['/c/none', '404 Not Found'],
      ['/none/a', '404 Not Found'],
    ],
  })
  assert.deepEqual(await fixture.names(), ['a', 'o'])
})

test('static large object: who makes one has to be let read the segments', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  await fixture.put('a', 'aaaa')
  await orbit.containers.put(owner, { account, container: 'd' }, { metadata: {} })
  const make = () => orbit.objects.putStatic(other, at(fixture, 'o', 'd'), PLAIN, { entries: [segment('a')] })
  await assert.rejects(make(), { kind: 'denied' })
  const them = other.session?.accountId ?? ''
  await orbit.containers.update(owner, { account, container: 'd' }, { metadata: {}, write: them })
  await assert.rejects(make(), { kind: 'invalid', problems: [['/c/a', '403 Forbidden']] })
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, read: them })
  await make()
})

test('static large object: segments that are gone, changed or out of reach are no bytes', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  for (const name of ['a', 'b', 'c']) await fixture.put(name, name.repeat(4))
  await putStatic(fixture, 'o', [segment('a'), segment('b'), segment('c'), data('end')])
  await orbit.objects.remove(owner, at(fixture, 'b'))
  await fixture.put('c', 'other')
  assert.deepEqual(await partsOf(fixture, 'o'), [
    'aaaa',
    'segment /c/b: 404 Not Found',
    'segment /c/c has changed',
    'end',
  ])
  await orbit.containers.put(
    owner,
    { account, container: 'd' },
    { metadata: {}, read: other.session?.accountId ?? '' },
  )
  await orbit.objects.copy(owner, at(fixture, 'a'), at(fixture, 'a', 'd'), { attributes: PLAIN, signal })
  await orbit.objects.putStatic(owner, at(fixture, 'o', 'd'), PLAIN, { entries: [segment('a')] })
  await using located = await orbit.objects.locate(other, at(fixture, 'o', 'd'))
  assert.deepEqual(located.parts, [{ content: undefined, why: 'segment /c/a: 403 Forbidden', length: 4 }])
})

test('static large object: one in another is read through, to ten levels', async () => {
  await using fixture = await openOrbit()
  await fixture.put('0', '0123456789')
  for (let level = 1; level <= 11; level++)
    await putStatic(fixture, String(level), [
      segment(String(level - 1), level % 2 ? '0-8' : undefined),
      data('x'),
    ])
  let expected = '0123456789'
  for (let level = 1; level <= 10; level++) {
    expected = `${level % 2 ? expected.slice(0, 9) : expected}x`
    assert.equal(await fixture.read(String(level)), expected)
  }
  assert.deepEqual(await partsOf(fixture, '11'), ['segment /c/1: more than 10 levels deep', 'x'])
})

test('static large object: one without segments reads as nothing', async () => {
  await using fixture = await openOrbit()
  const info = await putStatic(fixture, 'o', [])
  assert.deepEqual([info.size, info.etag], [0, md5('')])
  assert.equal(await fixture.read('o'), '')
})

test('static large object: a segment may be a dynamic one, as long as it stays what it was', async () => {
  await using fixture = await openOrbit()
  await fixture.put('s/1', 'one')
  await putDynamic(fixture, 'd', 'c/s/')
  await putStatic(fixture, 'o', [segment('d')])
  assert.equal(await fixture.read('o'), 'one')
  await fixture.put('s/2', 'two')
  assert.deepEqual(await partsOf(fixture, 'o'), ['segment /c/d has changed'])
})

test('static large object: a tree of segments that nobody could read to its end is refused', async () => {
  await using fixture = await openOrbit()
  await fixture.put('0', 'x')
  for (let level = 1; level <= 5; level++)
    await putStatic(
      fixture,
      String(level),
      Array.from({ length: 100 }, () => segment(String(level - 1))),
    )
  await assert.rejects(partsOf(fixture, '5'), { kind: 'conflict' })
})

test('dynamic large object: all objects with its prefix in their order, as they are now', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner } = fixture
  await putDynamic(fixture, 'o', 'c/s%2F%C3%B6/', 'own bytes')
  assert.equal(await fixture.read('o'), '')
  const two = await fixture.put('s/ö/2', 'two')
  const one = await fixture.put('s/ö/1', 'one')
  await fixture.put('s/p', 'not of it')
  const info = await orbit.objects.show(owner, at(fixture, 'o'))
  assert.deepEqual([info.size, info.etag, info.large], [6, md5(one + two), 'dynamic'])
  assert.equal(await fixture.read('o'), 'onetwo')
  const stored = await orbit.objects.show(owner, at(fixture, 'o'), { manifest: true })
  assert.deepEqual([stored.size, stored.etag, stored.large], [9, md5('own bytes'), undefined])
  assert.equal(stored.dynamicManifest, 'c/s%2F%C3%B6/')
})

test('dynamic large object: many segments, among them static ones, expired ones and its like', async () => {
  await using fixture = await openOrbit()
  for (let index = 0; index < 1100; index++)
    await fixture.put(`s/${String(index).padStart(4, '0')}`, `${index},`)
  await fixture.put('t', 'static')
  await putStatic(fixture, 's/8', [segment('t'), segment('t')])
  await putDynamic(fixture, 's/9', 'c/s/', 'own')
  const deleteAt = Math.floor(fixture.clock.at / 1e6) + 5
  await fixture.put('s/5', 'gone', { attributes: { ...PLAIN, deleteAt } })
  fixture.clock.at += 10e6
  await putDynamic(fixture, 'o', 'c/s/')
  const numbers = Array.from({ length: 1100 }, (_, index) => `${index},`).join('')
  assert.equal(await fixture.read('o'), `${numbers}staticstaticown`)
  const info = await fixture.orbit.objects.show(fixture.owner, at(fixture, 'o'))
  assert.equal(info.size, numbers.length + 15)
})

test('dynamic large object: readers need the right to list and to read where the segments are', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, other } = fixture
  const container = (name: string, read?: string) =>
    orbit.containers.put(owner, { account, container: name }, { metadata: {}, ...(read ? { read } : {}) })
  await container('s')
  await container('c', '.r:*')
  await putDynamic(fixture, 'o', 's/x')
  const grant = (name?: string): Caller => ({
    ...ANYBODY,
    grant: { accountId: account, container: name, access: 'read' },
  })
  for (const caller of [ANYBODY, other, grant('c')]) {
    await assert.rejects(partsOf(fixture, 'o', caller), { kind: 'denied' })
    await assert.rejects(orbit.objects.show(caller, at(fixture, 'o')), { kind: 'denied' })
  }
  assert.deepEqual(await partsOf(fixture, 'o', grant()), [])
  await container('s', '.r:*')
  await assert.rejects(partsOf(fixture, 'o', ANYBODY), { kind: 'denied' })
  await container('s', '.r:*,.rlistings')
  assert.deepEqual(await partsOf(fixture, 'o', ANYBODY), [])
})

test('dynamic large object: without its container it cannot be read, and without a prefix it is none', async () => {
  await using fixture = await openOrbit()
  await putDynamic(fixture, 'o', 'missing/x')
  await assert.rejects(fixture.read('o'), { kind: 'not_found' })
  const message = 'X-Object-Manifest must be in the format container/prefix'
  for (const value of ['c', 'c/', '/c/x', '/', '', 'c//x', 'c/x?y', 'c/x&y'])
    await assert.rejects(putDynamic(fixture, 'p', value), { kind: 'invalid', message }, value)
})

test('copy of large objects: what they read as, as one object, or their manifest', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner } = fixture
  await fixture.put('s/1', 'one')
  await fixture.put('s/2', 'two')
  await putDynamic(fixture, 'dynamic', 'c/s/')
  const slo = await putStatic(fixture, 'static', [segment('s/1'), segment('s/2'), data('!')])
  for (const [name, text] of [
    ['dynamic', 'onetwo'],
    ['static', 'onetwo!'],
  ] as const) {
    const { info, source } = await copy(fixture, name, 'whole')
    assert.deepEqual([info.etag, info.large, info.dynamicManifest], [md5(text), undefined, undefined])
    assert.equal(source.size, text.length)
    await copy(fixture, name, 'part', { range: { offset: 2, length: 3 } })
    assert.equal(await fixture.read('part'), text.slice(2, 5))
    await copy(fixture, name, `${name} 2`, { manifest: true })
    const again = await orbit.objects.show(owner, at(fixture, `${name} 2`))
    assert.deepEqual([again.large, again.size], [name, text.length])
  }
  assert.equal((await orbit.objects.show(owner, at(fixture, 'static 2'))).etag, slo.etag)
  assert.equal(fixture.contents.open, 0)
  assert.deepEqual(fixture.pinned, [])
})

test('copy of large objects: one that cannot be read whole is not copied', async () => {
  await using fixture = await openOrbit()
  await fixture.put('a', 'aaaa')
  await putStatic(fixture, 'o', [segment('a'), segment('a')])
  await fixture.put('a', 'changed')
  await assert.rejects(copy(fixture, 'o', 'p'), { kind: 'conflict' })
  await assert.rejects(copy(fixture, 'o', 'p', { manifest: true }), {
    problems: [
      ['/c/a', 'Size Mismatch'],
      ['/c/a', 'Etag Mismatch'],
      ['/c/a', 'Size Mismatch'],
      ['/c/a', 'Etag Mismatch'],
    ],
  })
  assert.deepEqual(await fixture.names(), ['a', 'o'])
})

test('removal of static large objects: the segments of all levels first, each once', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner } = fixture
  for (const name of ['a', 'b', 'c']) await fixture.put(name, name)
  await putStatic(fixture, 'inner', [segment('a'), segment('b'), segment('a')])
  await putStatic(fixture, 'o', [segment('inner'), segment('c'), data('x')])
  await orbit.objects.remove(owner, at(fixture, 'b'))
  const outcome = await orbit.objects.removeStatic(owner, at(fixture, 'o'))
  assert.deepEqual(outcome, { deleted: 4, notFound: 1, errors: [] })
  assert.deepEqual(await fixture.names(), [])
})

test('removal of static large objects: what cannot be removed is told, and the rest goes', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  const them = other.session?.accountId ?? ''
  await fixture.put("it's", 'x')
  await orbit.containers.put(owner, { account, container: 'd' }, { metadata: {}, write: them })
  const path = at(fixture, 'o', 'd')
  await orbit.objects.putStatic(owner, path, PLAIN, { entries: [segment("it's")] })
  const outcome = await orbit.objects.removeStatic(other, path)
  assert.deepEqual(outcome, { deleted: 1, notFound: 0, errors: [['/c/it%27s', '403 Forbidden']] })
  assert.deepEqual(await fixture.names(), ["it's"])
})

test('removal of static large objects: of another object, of none, and by somebody else', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner } = fixture
  await fixture.put('a', 'a')
  const of = (name: string, caller = owner) => orbit.objects.removeStatic(caller, at(fixture, name))
  assert.deepEqual(await of('a'), { deleted: 0, notFound: 0, errors: [['/c/a', 'Not an SLO manifest']] })
  assert.deepEqual(await of('none'), { deleted: 0, notFound: 1, errors: [] })
  await assert.rejects(of('a', fixture.other), { kind: 'denied' })
  await assert.rejects(orbit.objects.showStatic(owner, at(fixture, 'a')), { kind: 'invalid' })
  await assert.rejects(orbit.objects.showStatic(owner, at(fixture, 'none')), { kind: 'not_found' })
  assert.deepEqual(await fixture.names(), ['a'])
})
