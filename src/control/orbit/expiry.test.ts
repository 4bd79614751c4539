import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EVERYTHING, openOrbit, PLAIN } from './orbit.fixtures.ts'

async function openExpiring(count: number) {
  const fixture = await openOrbit()
  const deleteAt = Math.floor(fixture.clock.at / 1e6) + 10
  for (let index = 0; index < count; index++)
    await fixture.put(`o${index}`, 'bytes', { attributes: { ...PLAIN, deleteAt } })
  await fixture.put('stays', 'bytes')
  return { ...fixture, pass: (seconds: number) => (fixture.clock.at = (deleteAt + seconds) * 1e6) }
}

test('expiry: from its second on an object is gone for everybody who reads, writes or removes', async () => {
  await using fixture = await openExpiring(1)
  const { orbit, owner, account, pass } = fixture
  const path = { account, container: 'c', object: 'o0' }
  pass(-1)
  assert.equal(await fixture.read('o0'), 'bytes')
  pass(0)
  await assert.rejects(orbit.objects.show(owner, path), { kind: 'not_found' })
  await assert.rejects(orbit.objects.locate(owner, path), { kind: 'not_found' })
  await assert.rejects(orbit.objects.update(owner, path, PLAIN), { kind: 'not_found' })
  await assert.rejects(orbit.objects.remove(owner, path), { kind: 'not_found' })
  await fixture.put('o0', 'new', { ifNoneMatch: true })
  assert.equal(await fixture.read('o0'), 'new')
})

test('expiry: what has expired is neither listed nor counted', async () => {
  await using fixture = await openExpiring(1100)
  const { orbit, owner, account, pass } = fixture
  const path = { account, container: 'c' }
  pass(0)
  const shown = await orbit.containers.show(owner, path)
  assert.deepEqual([shown.objectCount, shown.bytesUsed], [1, 5])
  assert.deepEqual(await fixture.names(), ['stays'])
  const { info, rows } = await orbit.accounts.list(owner, account, { ...EVERYTHING, prefix: 'c' })
  assert.deepEqual([info.objectCount, info.bytesUsed], [1, 5])
  assert.deepEqual(
    rows.map((row) => row.kind === 'container' && [row.count, row.bytes]),
    [[1, 5]],
  )
})

test('expiry: the account alone counts right too, and other accounts wait for nothing of it', async () => {
  await using fixture = await openExpiring(3)
  const { orbit, owner, other, account, pass, catalog } = fixture
  pass(0)
  const stranger = other.session?.accountId ?? ''
  await orbit.accounts.show(other, stranger)
  assert.equal((await catalog.orbitAccounts.find(account))?.objectCount, 4)
  assert.equal((await orbit.accounts.show(owner, account)).objectCount, 1)
})

test('expiry: a container in which all has expired is empty', async () => {
  await using fixture = await openExpiring(2)
  const { orbit, owner, account, pass } = fixture
  const path = { account, container: 'c' }
  await orbit.objects.remove(owner, { ...path, object: 'stays' })
  await assert.rejects(orbit.containers.remove(owner, path), { kind: 'conflict' })
  pass(0)
  await orbit.containers.remove(owner, path)
})

test('expiry: the job removes what has expired, and says how much', async () => {
  await using fixture = await openExpiring(501)
  const { signal } = new AbortController()
  assert.equal(await fixture.orbit.expire(signal), 0)
  fixture.pass(0)
  assert.equal(await fixture.orbit.expire(signal), 501)
  assert.equal(await fixture.orbit.expire(signal), 0)
  await assert.rejects(fixture.orbit.expire(AbortSignal.abort(new Error('stop'))), /stop/)
})

test('expiry: a time that is taken back does not come', async () => {
  await using fixture = await openExpiring(1)
  const { orbit, owner, account, pass } = fixture
  await orbit.objects.update(owner, { account, container: 'c', object: 'o0' }, PLAIN)
  pass(1)
  assert.deepEqual(await fixture.names(), ['o0', 'stays'])
})
