import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EVERYTHING, type OrbitFixture, openOrbit } from './orbit.fixtures.ts'

const MARK = 'application/x-deleted;swift_versions_deleted=1'

/** The container `c` with its old versions in `archive`. */
async function openVersions(mode: 'stack' | 'history', container = 'archive') {
  const fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  await orbit.containers.put(owner, { account, container: 'archive' }, { metadata: {} })
  await orbit.containers.update(
    owner,
    { account, container: 'c' },
    { metadata: {}, versions: { mode, container } },
  )
  return fixture
}

const pathOf = ({ account }: OrbitFixture, object = 'o') => ({ account, container: 'c', object })
const remove = (fixture: OrbitFixture, object?: string) =>
  fixture.orbit.objects.remove(fixture.owner, pathOf(fixture, object))

async function archived({ orbit, owner, account, contents }: OrbitFixture): Promise<string[]> {
  const path = { account, container: 'archive' }
  const { rows } = await orbit.containers.list(owner, path, EVERYTHING)
  return Promise.all(
    rows.map(async (row) => {
      if (row.kind === 'object' && row.contentType === MARK) return 'mark'
      await using found = await orbit.objects.locate(owner, { ...path, object: row.name })
      await using reader = await contents.openReader(found.parts)
      const chunks = await Array.fromAsync(reader.read(0, found.info.size, new AbortController().signal))
      return Buffer.concat(chunks).toString()
    }),
  )
}

test('versions: what is replaced goes to the archive under its name and time', async () => {
  await using fixture = await openVersions('stack')
  const { orbit, owner, account } = fixture
  await fixture.put('ö', 'one')
  const { modifiedAt } = await orbit.objects.show(owner, pathOf(fixture, 'ö'))
  await fixture.put('ö', 'two')
  const archive = { account, container: 'archive' }
  const { info, rows } = await orbit.containers.list(owner, archive, EVERYTHING)
  assert.deepEqual(
    rows.map(({ name }) => name),
    [`002ö/${(modifiedAt / 1e6).toFixed(5)}`],
  )
  assert.deepEqual([info.objectCount, info.bytesUsed], [1, 3])
  assert.equal(await fixture.read('ö'), 'two')
})

test('versions: in a stack each deletion brings the version before back', async () => {
  await using fixture = await openVersions('stack')
  for (const text of ['one', 'two', 'three']) await fixture.put('o', text)
  assert.deepEqual(await archived(fixture), ['one', 'two'])
  await remove(fixture)
  assert.equal(await fixture.read('o'), 'two')
  await remove(fixture)
  assert.equal(await fixture.read('o'), 'one')
  assert.deepEqual(await archived(fixture), [])
  await remove(fixture)
  await assert.rejects(remove(fixture), { kind: 'not_found' })
})

test('versions: a version comes back with its metadata, and large contents without being copied', async () => {
  await using fixture = await openVersions('stack')
  const { orbit, owner, contents } = fixture
  const attributes = {
    contentType: 'text/x-old',
    headers: { 'cache-control': 'no-store' },
    metadata: { a: 'b' },
  }
  await fixture.put('o', Buffer.alloc(100_000, 7), { attributes })
  await fixture.put('o', 'new')
  const manifests = contents.manifests.size
  await remove(fixture)
  const { contentType, headers, metadata, size } = await orbit.objects.show(owner, pathOf(fixture))
  assert.deepEqual({ contentType, headers, metadata }, attributes)
  assert.equal(size, 100_000)
  assert.equal(contents.manifests.size, manifests)
})

test('versions: in a stack a version comes back although nothing stands in its place', async () => {
  await using fixture = await openVersions('stack')
  const { catalog, account } = fixture
  await fixture.put('o', 'one')
  await fixture.put('o', 'two')
  const container = await catalog.containers.find(account, 'c')
  assert.ok(container)
  await catalog.transaction(async ({ objects }) => {
    const object = await objects.findIn(container.id, 'o')
    assert.ok(object)
    await objects.remove(container, object)
  })
  await remove(fixture)
  assert.equal(await fixture.read('o'), 'one')
})

test('versions: names that begin alike have versions of their own', async () => {
  await using fixture = await openVersions('stack')
  for (const name of ['a', 'a/b', 'aa'])
    for (const text of ['old', 'new']) await fixture.put(name, `${name} ${text}`)
  await remove(fixture, 'a')
  assert.equal(await fixture.read('a'), 'a old')
  assert.equal(await fixture.read('a/b'), 'a/b new')
  assert.deepEqual(await archived(fixture), ['aa old', 'a/b old'])
})

test('versions: in a history nothing comes back, and deletions are marked, also those of nothing', async () => {
  await using fixture = await openVersions('history')
  await fixture.put('o', 'one')
  await fixture.put('o', 'two')
  await remove(fixture)
  assert.deepEqual(await archived(fixture), ['one', 'two', 'mark'])
  await assert.rejects(fixture.read('o'), { kind: 'not_found' })
  await assert.rejects(remove(fixture), { kind: 'not_found' })
  assert.deepEqual(await archived(fixture), ['one', 'two', 'mark', 'mark'])
  await fixture.put('o', 'three')
  await remove(fixture)
  assert.deepEqual(await archived(fixture), ['one', 'two', 'mark', 'mark', 'three', 'mark'])
})

test('versions: a stack over the archive of a history steps back over its marks', async () => {
  await using fixture = await openVersions('history')
  const { orbit, owner, account } = fixture
  await fixture.put('o', 'one')
  await remove(fixture)
  const versions = { mode: 'stack', container: 'archive' } as const
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, versions })
  await remove(fixture)
  assert.equal(await fixture.read('o'), 'one')
  assert.deepEqual(await archived(fixture), [])
  await fixture.put('p', 'one')
  await orbit.containers.update(
    owner,
    { account, container: 'c' },
    { metadata: {}, versions: { mode: 'history', container: 'archive' } },
  )
  await remove(fixture, 'p')
  await orbit.containers.update(owner, { account, container: 'c' }, { metadata: {}, versions })
  await fixture.put('p', 'two')
  await remove(fixture, 'p')
  await assert.rejects(fixture.read('p'), { kind: 'not_found' })
  assert.deepEqual(await archived(fixture), ['one', 'mark'])
})

test('versions: without their archive nothing is replaced, and nothing is deleted from a history', async () => {
  for (const mode of ['stack', 'history'] as const) {
    await using fixture = await openVersions(mode, 'missing')
    await fixture.put('o', 'one')
    await assert.rejects(fixture.put('o', 'two'), { kind: 'precondition' })
    assert.equal(await fixture.read('o'), 'one')
    if (mode === 'stack') await remove(fixture)
    else await assert.rejects(remove(fixture), { kind: 'precondition' })
    assert.deepEqual(await fixture.names(), mode === 'stack' ? [] : ['o'])
  }
})

test('versions: a name too long for the archive cannot be replaced', async () => {
  await using fixture = await openVersions('stack')
  const name = 'x'.repeat(1020)
  await fixture.put(name, 'one')
  await assert.rejects(fixture.put(name, 'two'), { kind: 'precondition' })
})

test('versions: a new object, a change of metadata and what has expired leave no version', async () => {
  await using fixture = await openVersions('stack')
  const { orbit, owner, clock } = fixture
  const deleteAt = Math.floor(clock.at / 1e6) + 10
  await fixture.put('o', 'one', { attributes: { headers: {}, metadata: {}, deleteAt } })
  await orbit.objects.update(owner, pathOf(fixture), { headers: {}, metadata: {}, deleteAt })
  clock.at += 20e6
  await fixture.put('o', 'two')
  assert.deepEqual(await archived(fixture), [])
  await remove(fixture)
  assert.deepEqual(await fixture.names(), [])
})

test('versions: who may write needs no rights in the archive', async () => {
  await using fixture = await openVersions('stack')
  const { orbit, owner, other, account } = fixture
  await orbit.containers.update(
    owner,
    { account, container: 'c' },
    { metadata: {}, write: other.session?.accountId ?? '' },
  )
  await fixture.put('o', 'one')
  const upload = await orbit.objects.beginPut(other, pathOf(fixture), {
    attributes: { headers: {}, metadata: {} },
    signal: new AbortController().signal,
  })
  await upload.write(Buffer.from('two'))
  await upload.finish()
  assert.deepEqual(await archived(fixture), ['one'])
  await orbit.objects.remove(other, pathOf(fixture))
  assert.equal(await fixture.read('o'), 'one')
})

test('versions: keep their order where the clock was set back between two starts', async () => {
  for (const mode of ['stack', 'history'] as const) {
    await using fixture = await openVersions(mode)
    for (const text of ['one', 'two', 'three']) {
      await fixture.put('o', text)
      fixture.clock.at -= 3_600_000_000
    }
    await fixture.orbit.objects.update(fixture.owner, pathOf(fixture), { headers: {}, metadata: {} })
    assert.equal(await fixture.read('o'), 'three')
    await remove(fixture)
    assert.deepEqual(await archived(fixture), mode === 'stack' ? ['one'] : ['one', 'two', 'three', 'mark'])
  }
})
