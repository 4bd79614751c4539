import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANYBODY, type Caller } from '#model/orbit.ts'
import { cleanList, demandContainer, ownChange, showMetadata, statusLineOf } from './access.ts'
import { openOrbit, PLAIN } from './orbit.fixtures.ts'
import { OrbitRefusal } from './orbit.ts'

const owner: Caller = {
  ...ANYBODY,
  session: {
    ...{ accountId: 'acc-00001', clientId: 'cli-00001', userId: null },
    ...{ permissions: 'full', scopes: ['orbit'] },
  },
}
const path = { account: 'acc-00001', container: 'c' }

test('access: a missing container is denied to those who own nothing, and not found by its owner', () => {
  assert.throws(() => demandContainer(ANYBODY, 'read', path, undefined), { kind: 'denied' })
  assert.throws(() => demandContainer(owner, 'read', path, undefined), { kind: 'not_found' })
  const other = { ...path, account: 'acc-00002' }
  assert.throws(() => demandContainer(owner, 'list', other, undefined), { kind: 'denied' })
})

test('access: an access list is stored clean, and as nothing where nobody is in it', () => {
  assert.equal(cleanList('read', ' .ref : * , acc-00002'), '.r:*,acc-00002')
  assert.equal(cleanList('read', ' , '), null)
  assert.equal(cleanList('write', null), null)
  assert.throws(() => cleanList('write', '.r:*'), {
    kind: 'invalid',
    message: "Referrers not allowed in write ACL: '.r:*'",
  })
})

test('access: keys of temporary URLs are for owners to see and to set', () => {
  const metadata = { 'temp-url-key': 'k', 'temp-url-key-2': 'l', color: 'red' }
  assert.deepEqual(showMetadata(owner, 'acc-00001', metadata), metadata)
  assert.deepEqual(showMetadata(owner, 'acc-00002', metadata), { color: 'red' })
  assert.deepEqual(ownChange(ANYBODY, 'acc-00001', metadata), { color: 'red' })
  assert.deepEqual(ownChange(owner, 'acc-00001', { 'temp-url-key': null }), { 'temp-url-key': null })
})

test('access: of many things each refusal has its status', () => {
  const line = (caller: Caller, kind: ConstructorParameters<typeof OrbitRefusal>[0]) =>
    statusLineOf(caller, new OrbitRefusal(kind, ''))
  assert.equal(line(ANYBODY, 'denied'), '401 Unauthorized')
  assert.equal(line(owner, 'denied'), '403 Forbidden')
  assert.equal(line(owner, 'not_found'), '404 Not Found')
  assert.equal(line(owner, 'precondition'), '412 Precondition Failed')
  assert.equal(line(owner, 'conflict'), '409 Conflict')
})

test('access: in a container that is open to anybody a missing object is not found, else denied', async () => {
  await using fixture = await openOrbit()
  const { orbit, account, other } = fixture
  const object = { account, container: 'c', object: 'none' }
  for (const caller of [ANYBODY, other])
    await assert.rejects(orbit.objects.show(caller, object), { kind: 'denied' })
  await orbit.containers.update(fixture.owner, { account, container: 'c' }, { metadata: {}, read: '.r:*' })
  for (const caller of [ANYBODY, other]) {
    await assert.rejects(orbit.objects.show(caller, object), { kind: 'not_found' })
    await assert.rejects(orbit.containers.show(caller, { account, container: 'c' }), { kind: 'denied' })
    await assert.rejects(orbit.objects.remove(caller, object), { kind: 'denied' })
    await assert.rejects(orbit.objects.update(caller, object, PLAIN), { kind: 'denied' })
  }
})

test('access: who is let in by a list is not shown the lists, nor the keys', async () => {
  await using fixture = await openOrbit()
  const { orbit, account, other } = fixture
  const container = { account, container: 'c' }
  const read = other.session?.accountId ?? ''
  const metadata = { 'temp-url-key': 'k', color: 'red' }
  await orbit.containers.update(fixture.owner, container, { metadata, read, write: read })
  const seen = await orbit.containers.show(other, container)
  assert.deepEqual([seen.read, seen.write, seen.metadata], [undefined, undefined, { color: 'red' }])
  const own = await orbit.containers.show(fixture.owner, container)
  assert.deepEqual([own.read, own.write, own.metadata], [read, read, metadata])
  for (const change of [
    () => orbit.containers.update(other, container, { metadata: {} }),
    () => orbit.containers.put(other, container, { metadata: {} }),
    () => orbit.containers.remove(other, container),
    () => orbit.accounts.show(other, account),
    () => orbit.accounts.update(other, account, {}),
  ])
    await assert.rejects(change, { kind: 'denied' })
})
