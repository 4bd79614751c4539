import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { openOrbit } from './orbit.fixtures.ts'
import type { TempUrlRequest } from './orbit.ts'

const EXPIRES = '1893456000'
/** A request signed with nothing of the subject. */
function signed(key: string | Buffer, path: string, change: Partial<TempUrlRequest> = {}): TempUrlRequest {
  const method = change.method ?? 'GET'
  const signature = createHmac('sha256', key).update(`${method}\n${EXPIRES}\n${path}`).digest('hex')
  const rest = { prefix: undefined, ipRange: undefined, clientIp: '192.0.2.7' }
  return { method, path, signature, expires: EXPIRES, ...rest, ...change }
}

test('temporary URLs: keys of an account open all of its containers, those of a container this one', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const container = { account, container: 'c' }
  await orbit.accounts.update(owner, account, { 'temp-url-key': 'one', 'temp-url-key-2': 'two' })
  await orbit.containers.update(owner, container, {
    metadata: { 'temp-url-key': 'three', 'temp-url-key-2': 'four' },
  })
  const grantOf = (key: string, path: string, change?: Partial<TempUrlRequest>) =>
    orbit.tempUrls.verify(signed(key, path, change))
  const path = `/v1/${account}/c/o`
  for (const key of ['one', 'two'])
    assert.deepEqual(await grantOf(key, path), { accountId: account, container: undefined, access: 'read' })
  for (const key of ['three', 'four'])
    assert.deepEqual(await grantOf(key, path), { accountId: account, container: 'c', access: 'read' })
  assert.equal((await grantOf('one', `/v1/${account}/missing/o`))?.container, undefined)
  assert.equal(await grantOf('three', `/v1/${account}/d/o`), undefined)
  assert.equal(await grantOf('five', path), undefined)
  assert.equal(await grantOf('', path), undefined)
})

test('temporary URLs: those for writing give rights to write, and HEAD with their signature to read', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  await orbit.accounts.update(owner, account, { 'temp-url-key': 'k' })
  const path = `/v1/${account}/c/o`
  for (const method of ['PUT', 'POST', 'DELETE'])
    assert.equal((await orbit.tempUrls.verify(signed('k', path, { method })))?.access, 'write', method)
  const put = signed('k', path, { method: 'PUT' })
  assert.equal((await orbit.tempUrls.verify({ ...put, method: 'HEAD' }))?.access, 'read')
  assert.equal(await orbit.tempUrls.verify({ ...put, method: 'GET' }), undefined)
})

test('temporary URLs: without a key, and for an account that there is none of, there are none', async () => {
  await using fixture = await openOrbit()
  const { orbit, account, clock } = fixture
  assert.equal(await orbit.tempUrls.verify(signed('k', `/v1/${account}/c/o`)), undefined)
  assert.equal(await orbit.tempUrls.verify(signed('k', '/v1/acc-zzzzz/c/o')), undefined)
  clock.at = (Number(EXPIRES) + 1) * 1e6
  assert.equal(await orbit.tempUrls.verify(signed('k', `/v1/${account}/c/o`)), undefined)
})

test('temporary URLs: a key is made of bytes, not of letters', async () => {
  await using fixture = await openOrbit()
  const { orbit, owner, account } = fixture
  const key = Buffer.from('schlüssel')
  await orbit.accounts.update(owner, account, { 'temp-url-key': key.toString('latin1') })
  assert.ok(await orbit.tempUrls.verify(signed(key, `/v1/${account}/c/ö`)))
})
