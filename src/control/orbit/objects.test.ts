import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EVERYTHING, openOrbit, PLAIN } from './orbit.fixtures.ts'

test('objects: put, listed, read and removed', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const path = { account, container: 'c', object: 'a/b' }
  assert.equal(await fixture.put('a/b', 'hello'), '5d41402abc4b2a76b9719d911017c592')
  assert.equal(await fixture.read('a/b'), 'hello')
  assert.deepEqual(await fixture.names(), ['a/b'])
  const { info } = await orbit.accounts.list(owner, account, EVERYTHING)
  assert.deepEqual([info.containerCount, info.objectCount, info.bytesUsed], [2, 1, 5])
  await orbit.objects.remove(owner, path)
  await assert.rejects(orbit.objects.show(owner, path), { kind: 'not_found' })
  await assert.rejects(orbit.objects.remove(owner, path), { kind: 'not_found' })
  assert.deepEqual(await fixture.names(), [])
  assert.equal(PLAIN.headers, PLAIN.headers)
})
