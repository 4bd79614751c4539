import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { callerOf, fetchToken, startApi } from '../../../test/support/api-server.ts'

const server = await startApi()
after(() => server[Symbol.asyncDispose]())
const { call, url, client } = server

type Json = Record<string, unknown> & { id: string }

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJWmvHaRJnN+80WjqAD77Hdycq40nFs7Xp48UXjk+56I'

test('ssh keys: added, shown, listed and removed', async () => {
  const { status, headers, body } = await call<Json>('POST', '/1.0/ssh_keys', { public_key: `${KEY} jo` })
  assert.equal(status, 201)
  assert.equal(headers.get('location'), body.url)
  assert.deepEqual(body, {
    id: body.id,
    resource_type: 'ssh_key',
    url: `${url}/1.0/ssh_keys/${body.id}`,
    name: 'jo',
    key_type: 'ssh-ed25519',
    fingerprint: 'SHA256:Oy5h5rtZEdGkzFto3AmI2ifQ2Gq2hLfal7VSORw4cbM',
    public_key: KEY,
    created_at: body.created_at,
    user: null,
    api_client: {
      id: client.id,
      resource_type: 'api_client',
      url: `${url}/1.0/api_clients/${client.id}`,
    },
  })
  assert.match(body.id, /^key-[0-9a-z]{5}$/)
  assert.deepEqual((await call<Json>('GET', `/1.0/ssh_keys/${body.id}`)).body, body)
  assert.deepEqual((await call<Json[]>('GET', '/1.0/ssh_keys')).body, [body])
  assert.equal((await call('POST', '/1.0/ssh_keys', { public_key: KEY })).status, 409)
  const other = await server.addClient()
  assert.equal((await other.call('GET', `/1.0/ssh_keys/${body.id}`)).status, 404)
  assert.equal((await other.call('DELETE', `/1.0/ssh_keys/${body.id}`)).status, 404)
  const removed = await call<Json>('DELETE', `/1.0/ssh_keys/${body.id}`)
  assert.deepEqual([removed.status, removed.body], [200, body])
  assert.equal((await call('DELETE', `/1.0/ssh_keys/${body.id}`)).status, 404)
  assert.deepEqual((await call<Json[]>('GET', '/1.0/ssh_keys')).body, [])
})

test('ssh keys: what is no key, and unknown fields, are refused with a sentence', async () => {
  const refused: [unknown, RegExp][] = [
    [{}, /public_key/],
    [{ public_key: 1 }, /public_key/],
    [{ public_key: '' }, /must begin with/],
    [{ public_key: 'x'.repeat(16_385) }, /public_key/],
    [{ public_key: '-----BEGIN OPENSSH PRIVATE KEY-----' }, /never leave/],
    [{ public_key: KEY, name: 'a\nb' }, /name/],
    [{ public_key: KEY, user: 'usr-12345' }, /user/],
  ]
  for (const [body, message] of refused) {
    const answer = await call<{ errors: string[] }>('POST', '/1.0/ssh_keys', body)
    assert.equal(answer.status, 422, JSON.stringify(body).slice(0, 60))
    assert.match(answer.body.errors.join(), message)
  }
  const foreign = await server.addClient()
  const body = { public_key: KEY, api_client: foreign.client.id }
  assert.equal((await call('POST', '/1.0/ssh_keys', body)).status, 404)
})

test('api clients: one for object storage alone is made by its privileges, and may not use this API', async () => {
  const made = await call<Json>('POST', '/1.0/api_clients', { name: 'backup', permissions_group: 'storage' })
  assert.deepEqual([made.status, made.body.permissions_group], [201, 'storage'])
  const secret = String(made.body.secret)
  const storage = callerOf(url, await fetchToken(url, made.body.id, secret))
  assert.equal((await storage('GET', '/1.0/ssh_keys')).status, 403)
  assert.equal((await storage('GET', '/1.0/accounts')).status, 403)
  const login = await server.auth.orbit.login({ user: made.body.id, key: secret })
  assert.ok(login.ok)
  const path = `/1.0/api_clients/${made.body.id}`
  assert.equal((await call('PUT', path, { permissions_group: 'root' })).status, 422)
  const changed = await call<Json>('PUT', path, { permissions_group: 'full' })
  assert.equal(changed.body.permissions_group, 'full')
})
