import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANYBODY } from '#model/orbit.ts'
import { EVERYTHING, openOrbit } from './orbit.fixtures.ts'

test('container: made once, changed after that, removed when empty', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const path = { account, container: 'd é\u{10ffff}' }
  assert.equal(await orbit.containers.put(owner, path, { metadata: { a: '1' }, read: '.r:*' }), true)
  const made = await orbit.containers.show(owner, path)
  assert.equal(await orbit.containers.put(owner, path, { metadata: { b: '2' } }), false)
  const changed = await orbit.containers.show(owner, path)
  assert.deepEqual(changed, { ...made, metadata: { a: '1', b: '2' }, updatedAt: changed.updatedAt })
  assert.ok(changed.updatedAt > made.updatedAt)
  assert.deepEqual([made.createdAt, made.read], [made.updatedAt, '.r:*'])
  await orbit.containers.update(owner, path, { metadata: { a: null, b: '', c: 'Ã©' }, read: null })
  const { metadata, read } = await orbit.containers.show(owner, path)
  assert.deepEqual([metadata, read], [{ c: 'Ã©' }, undefined])
})

test('container: what is refused changes nothing', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  const path = { account, container: 'c' }
  const change = { metadata: { a: '1' } }
  const before = await orbit.containers.show(owner, path)
  for (const caller of [other, ANYBODY]) {
    for (const container of ['c', 'none']) {
      const place = { account, container }
      await assert.rejects(orbit.containers.put(caller, place, change), { kind: 'denied' })
      await assert.rejects(orbit.containers.update(caller, place, change), { kind: 'denied' })
      await assert.rejects(orbit.containers.remove(caller, place), { kind: 'denied' })
      await assert.rejects(orbit.containers.show(caller, place), { kind: 'denied' })
      await assert.rejects(orbit.containers.list(caller, place, EVERYTHING), { kind: 'denied' })
    }
  }
  const none = { account, container: 'none' }
  await assert.rejects(orbit.containers.update(owner, none, change), { kind: 'not_found' })
  await assert.rejects(orbit.containers.remove(owner, none), { kind: 'not_found' })
  await assert.rejects(orbit.containers.show(owner, none), { kind: 'not_found' })
  await assert.rejects(orbit.containers.put(owner, path, { metadata: {}, read: '.bad:*' }), {
    kind: 'invalid',
  })
  await assert.rejects(orbit.containers.put(owner, { account, container: 'é'.repeat(129) }, change), {
    kind: 'invalid',
    message: 'Container name length of 258 longer than 256',
  })
  assert.deepEqual(await orbit.containers.show(owner, path), before)
})

test('container: one that holds an object stays', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const path = { account, container: 'c' }
  await fixture.put('o')
  await assert.rejects(orbit.containers.remove(owner, path), { kind: 'conflict' })
  assert.deepEqual(await fixture.names(), ['o'])
  await orbit.objects.remove(owner, { ...path, object: 'o' })
  await orbit.containers.remove(owner, path)
  assert.equal(await orbit.containers.facts(path), undefined)
})

test('container: only owners see access lists and keys, and facts are for everybody', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  const path = { account, container: 'c' }
  const metadata = { 'temp-url-key': 'secret', 'temp-url-key-2': 'secret', 'web-index': 'i' }
  const versions = { mode: 'stack', container: 'archive' } as const
  const read = other.groups[0] ?? ''
  await orbit.containers.update(owner, path, { metadata, read, write: read, versions })
  const own = await orbit.containers.show(owner, path)
  assert.deepEqual([own.metadata, own.read, own.write, own.versions], [metadata, read, read, versions])
  const { info } = await orbit.containers.list(other, path, EVERYTHING)
  assert.deepEqual(info.metadata, { 'web-index': 'i' })
  assert.deepEqual([info.read, info.write, info.versions], [undefined, undefined, undefined])
  assert.deepEqual((await orbit.containers.facts(path))?.metadata, metadata)
})

test('account: metadata is merged, shown to its own only, and kept whole', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, other, account } = fixture
  await orbit.accounts.update(owner, account, { a: '1', b: 'Ã©' })
  await orbit.accounts.update(owner, account, { a: null, c: '3' })
  const { metadata, createdAt } = await orbit.accounts.show(owner, account)
  assert.deepEqual(metadata, { b: 'Ã©', c: '3' })
  assert.equal(createdAt, 1000)
  await assert.rejects(orbit.accounts.show(other, account), { kind: 'denied' })
  await assert.rejects(orbit.accounts.update(other, account, { a: '1' }), { kind: 'denied' })
  await assert.rejects(orbit.accounts.list(ANYBODY, account, EVERYTHING), { kind: 'denied' })
})

test('account: containers are listed in the order of their bytes, that of its images among them', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account, catalog } = fixture
  for (const container of ['\uffff', '\u{10000}', 'j/k', 'a-1', 'a-2'])
    await orbit.containers.put(owner, { account, container }, { metadata: {} })
  const names = async (query: object) => {
    const { rows } = await orbit.accounts.list(owner, account, { ...EVERYTHING, ...query })
    return rows.map((row) => row.name)
  }
  assert.deepEqual(await names({}), ['a-1', 'a-2', 'c', 'images', 'j/k', '\uffff', '\u{10000}'])
  assert.deepEqual(await names({ delimiter: '-', limit: 3 }), ['a-', 'c', 'images'])
  assert.deepEqual(await names({ reverse: true, marker: 'j/k', limit: 2 }), ['images', 'c'])
  await catalog.orbitAccounts.setImagesContainer(account, false)
  assert.deepEqual(await names({ prefix: 'i' }), [])
  assert.equal(await orbit.containers.put(owner, { account, container: 'images' }, { metadata: {} }), true)
})
