import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { basic, callerOf, fetchToken, startApi } from '../../../test/support/api-server.ts'
import { createFakeServers, fakeServer, fakeShown, fakeVolume } from '../../../test/support/fake-servers.ts'

const server = await startApi()
after(() => server[Symbol.asyncDispose]())
const { call, url, account, client } = server

type Json = Record<string, unknown> & { id: string }

async function login(email: string, password: string) {
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { authorization: basic('app-12345', 'mocbuipbiaa6k6c'), 'content-type': 'application/json' },
    body: JSON.stringify({ grant_type: 'password', username: email, password }),
  })
  return callerOf(url, ((await response.json()) as { access_token: string }).access_token)
}

test('accounts: a client sees its one account, with and without what is nested in it', async () => {
  const flat = await call<Json[]>('GET', '/1.0/accounts?nested=false')
  assert.equal(flat.status, 200)
  assert.deepEqual(
    flat.body.map(({ id }) => id),
    [account.id],
  )
  assert.equal('clients' in flat.body[0]!, false)
  const { body } = await call<Json>('GET', `/1.0/account?account_id=${account.id}`)
  assert.equal(body.id, account.id)
  assert.equal(body.status, 'active')
  assert.deepEqual(
    (body.clients as Json[]).map(({ id }) => id),
    [client.id],
  )
  for (const key of ['images', 'servers', 'users', 'zones', 'cloud_ips', 'server_groups', 'volumes'])
    assert.ok(Array.isArray(body[key]), key)
  for (const key of ['ram_limit', 'ram_used', 'cloud_ips_limit', 'load_balancers_limit', 'servers_used'])
    assert.ok(Number.isInteger(body[key]), key)
  assert.equal(body.library_ftp_password, null)
  const byId = await call<Json>('GET', `/1.0/accounts/${account.id}?nested=false`)
  assert.equal(byId.body.name, account.name)
})

test('accounts: what its servers use, and what they may, is shown; 0 where there is no limit', async () => {
  const servers = createFakeServers()
  await using own = await startApi({ servers })
  const keys = ['servers_used', 'ram_limit', 'ram_used', 'block_storage_limit', 'block_storage_used'] as const
  const numbers = async (path: string) => {
    const { body } = await own.call<Json>('GET', path)
    return keys.map((key) => body[key])
  }
  assert.deepEqual(await numbers('/1.0/account?nested=false'), [0, 0, 0, 0, 0])
  const asked: string[] = []
  servers.use = async ({ accountId }) => {
    asked.push(accountId)
    return {
      servers: { used: 3, limit: 9 },
      ram: { used: 1536, limit: 4096 },
      disk: { used: 61_440, limit: undefined },
    }
  }
  assert.deepEqual(await numbers(`/1.0/accounts/${own.account.id}`), [3, 4096, 1536, 0, 61_440])
  assert.deepEqual(asked, [own.account.id])
})

test('accounts: servers and volumes that exist are nested in them', async () => {
  const servers = createFakeServers()
  await using own = await startApi({ servers })
  const there = await own.call<Json>('GET', '/1.0/account')
  const [server] = there.body.servers as Json[]
  assert.deepEqual([server?.id, server?.resource_type, server?.status], ['srv-12345', 'server', 'active'])
  assert.deepEqual(there.body.volumes, [
    { id: 'vol-12345', resource_type: 'volume', url: `${own.url}/1.0/volumes/vol-12345`, name: null },
  ])
  servers.shown = fakeShown({
    server: fakeServer({ status: 'deleted' }),
    volumes: [fakeVolume({ status: 'deleted' })],
  })
  const { body } = await own.call<Json>('GET', '/1.0/account')
  assert.deepEqual([body.servers, body.volumes], [[], []])
})

test("accounts: the name can be changed and nothing else, and nobody else's is seen", async () => {
  const renamed = await call<Json>('PUT', '/1.0/account?nested=false', { name: 'Renamed' })
  assert.deepEqual([renamed.status, renamed.body.name], [200, 'Renamed'])
  assert.equal((await call('PUT', `/1.0/accounts/${account.id}`, { address_1: 'x' })).status, 422)
  assert.equal((await call('PUT', '/1.0/account', { name: '' })).status, 422)
  const other = await server.addClient()
  assert.equal((await call('GET', `/1.0/accounts/${other.account.id}`)).status, 404)
  assert.equal((await call('GET', '/1.0/account?nested=maybe')).status, 422)
})

test('api clients: created, shown, changed, reset and revoked with the codes that clients insist on', async () => {
  const made = await call<Json>('POST', '/1.0/api_clients', { name: 'ci', permissions_group: 'full' })
  assert.equal(made.status, 201)
  assert.equal(made.headers.get('location'), made.body.url)
  assert.equal((made.body.account as Json).id, account.id)
  const secret = String(made.body.secret)
  const path = `/1.0/api_clients/${made.body.id}`
  assert.equal((await call<Json>('GET', path)).body.secret, null)
  const listed = await call<Json[]>('GET', '/1.0/api_clients')
  assert.ok(listed.body.some(({ id, secret }) => id === made.body.id && secret === null))
  const changed = await call<Json>('PUT', path, { description: 'for builds' })
  assert.deepEqual([changed.status, changed.body.name, changed.body.description], [200, 'ci', 'for builds'])

  const reset = await call<Json>('POST', `${path}/reset_secret`)
  assert.equal(reset.status, 200)
  assert.notEqual(reset.body.secret, secret)
  assert.equal(await fetchToken(url, made.body.id, secret), undefined)
  assert.ok(await fetchToken(url, made.body.id, String(reset.body.secret)))

  const revoked = await call<Json>('DELETE', path)
  assert.equal(revoked.status, 200)
  assert.match(String(revoked.body.revoked_at), /Z$/)
  assert.equal((await call<Json>('GET', path)).body.revoked_at, revoked.body.revoked_at)
  assert.equal(await fetchToken(url, made.body.id, String(reset.body.secret)), undefined)
})

test('api clients: an empty body makes one, a wrong field is refused, and storage means storage', async () => {
  assert.equal((await call('POST', '/1.0/api_clients', {})).status, 201)
  const wrong = await call<{ errors: string[] }>('POST', '/1.0/api_clients', { permissions_group: 'root' })
  assert.deepEqual(
    [wrong.status, wrong.body.errors],
    [422, ['permissions_group must be one of full, storage']],
  )
  const storage = await call<Json>('POST', '/1.0/api_clients', { permissions_group: 'storage' })
  const token = await fetchToken(url, storage.body.id, String(storage.body.secret))
  for (const path of ['/1.0/images', '/1.0/account', '/1.0/api_clients', '/1.0/zones'])
    assert.equal((await callerOf(url, token)('GET', path)).status, 403, path)
})

test('users: shown with their accounts; a client has no user of its own', async () => {
  const password = 'correct horse battery'
  const accountIds = [account.id]
  const user = await server.auth.operator.createUser({
    name: 'Jo',
    email: 'jo@example.com',
    password,
    accountIds,
  })
  const asUser = await login('jo@example.com', password)
  const self = await asUser<Json>('GET', '/1.0/user')
  assert.deepEqual([self.status, self.body.id, self.body.email_address], [200, user.id, 'jo@example.com'])
  assert.deepEqual(
    (self.body.accounts as Json[]).map(({ id }) => id),
    accountIds,
  )
  assert.equal((self.body.default_account as Json).id, account.id)
  assert.deepEqual(self.body['2fa'], { enabled: false })
  assert.deepEqual(
    (await call<Json[]>('GET', '/1.0/users')).body.map(({ id }) => id),
    [user.id],
  )
  assert.equal((await call('GET', '/1.0/user')).status, 404)
  assert.equal((await call('PUT', `/1.0/users/${user.id}`, { name: 'x' })).status, 403)

  const changed = await asUser<Json>('PUT', '/1.0/user', { name: 'Joanna', ssh_key: '' })
  assert.deepEqual([changed.status, changed.body.name, changed.body.ssh_key], [200, 'Joanna', null])
  const mismatch = { password: 'another password', password_confirmation: 'yet another one' }
  assert.equal((await asUser('PUT', `/1.0/users/${user.id}`, mismatch)).status, 422)
  await asUser('PUT', `/1.0/users/${user.id}`, {
    password: 'another password',
    password_confirmation: 'another password',
  })
  assert.equal((await (await login('jo@example.com', 'another password'))('GET', '/1.0/user')).status, 200)
})

test('users: whoever has several accounts picks one of them', async () => {
  const other = await server.addClient()
  const accountIds = [account.id, other.account.id]
  const password = 'correct horse battery'
  await server.auth.operator.createUser({ name: 'Two', email: 'two@example.com', password, accountIds })
  const asUser = await login('two@example.com', password)
  const accounts = await asUser<Json[]>('GET', '/1.0/accounts')
  assert.deepEqual(accounts.body.map(({ id }) => id).sort(), [...accountIds].sort())
  for (const { id, clients } of accounts.body) {
    const expected = id === account.id ? client.id : other.client.id
    assert.ok(
      (clients as Json[]).some((nested) => nested.id === expected),
      id,
    )
  }
  const picked = await asUser<Json>('GET', `/1.0/account?account_id=${other.account.id}`)
  assert.equal(picked.body.id, other.account.id)
})

test('collaborations: there are none, also for clients', async () => {
  for (const path of ['/1.0/collaborations', '/1.0/user/collaborations'])
    assert.deepEqual((await call('GET', path)).body, [])
})

test('places: server types and zones, listed and by id', async () => {
  const types = await call<Json[]>('GET', '/1.0/server_types')
  assert.ok(types.body.some(({ handle }) => handle === '1gb.ssd'))
  const [type] = types.body
  assert.deepEqual((await call('GET', `/1.0/server_types/${type?.id}`)).body, type)
  const zones = await call<Json[]>('GET', '/1.0/zones')
  for (const { handle } of zones.body) assert.match(String(handle), /^gb1s?-[ab]$/)
  assert.deepEqual((await call('GET', `/1.0/zones/${zones.body[0]?.id}`)).body, zones.body[0])
  assert.equal((await call('GET', '/1.0/zones/zon-zzzzz')).status, 404)
  assert.equal((await call('GET', '/1.0/server_types/typ-zzzzz')).status, 404)
})

test('the description needs no token', async () => {
  assert.equal((await fetch(`${url}/openapi.json`)).status, 200)
})
