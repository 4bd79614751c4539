import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import type { AuthResult } from './auth.ts'
import { createAuth } from './create-auth.ts'

const PASSWORD = 'correct horse battery'
const HOUR = 3600_000

/** Jo is in two accounts, a client for storage in the first, and there is one account that is nobody's. */
async function setUp() {
  const clock = { at: Date.UTC(2026, 0, 1) }
  const folder = await mkdtemp(join(tmpdir(), 'orbit-logins-'))
  const path = join(folder, 'catalog.sqlite')
  const catalog = await openCatalog({ path })
  const auth = createAuth({ catalog, now: () => clock.at })
  const make = async (name: string) => (await auth.operator.createAccount({ name })).id
  const [one, two, foreign] = [await make('One'), await make('Two'), await make('Foreign')]
  const user = await auth.operator.createUser({
    name: 'Jo',
    email: 'jo@example.com',
    password: PASSWORD,
    accountIds: [one, two],
  })
  const { client, secret } = await auth.operator.createClient(one, { permissions: 'storage' })
  const login = (name: string, key: string, accountId?: string) =>
    auth.orbit.login({ user: name, key, accountId })
  const close = async () => {
    await catalog[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  }
  return {
    ...{ auth, clock, catalog, one, two, foreign, user, client, secret, login },
    [Symbol.asyncDispose]: close,
  }
}

function granted<T>(result: AuthResult<T>): T {
  if (!result.ok) throw new Error(`${result.error}: ${result.description}`)
  return result.value
}

const errorOf = (result: AuthResult<unknown>) => (result.ok ? 'none' : result.error)

test('Orbit login: every form of the name leads to its account', async () => {
  await using at = await setUp()
  const { one, two, user, client, secret } = at
  const cases: [string, string, string | undefined, string][] = [
    [client.id, secret, undefined, one],
    [client.id, secret, one, one],
    [`${one}:${client.id}`, secret, undefined, one],
    [`${one}:${client.id}`, secret, one, one],
    [`${client.id}:${one}`, secret, undefined, one],
    ['jo@example.com', PASSWORD, undefined, one],
    ['JO@example.com', PASSWORD, two, two],
    [user.id, PASSWORD, undefined, one],
    [`${two}:jo@example.com`, PASSWORD, undefined, two],
    [`jo@example.com:${two}`, PASSWORD, undefined, two],
    [`${user.id}:${two}`, PASSWORD, two, two],
  ]
  for (const [name, key, accountId, expected] of cases) {
    const value = granted(await at.login(name, key, accountId))
    assert.equal(value.accountId, expected, `${name} at ${accountId}`)
    assert.equal(value.expiresIn, 7200)
    assert.match(value.token, /^[0-9a-f]{40}$/)
  }
})

test('Orbit login: what does not fit together is refused', async () => {
  await using at = await setUp()
  const { one, two, foreign, client, secret } = at
  const cases: [string, string, string | undefined, string][] = [
    [client.id, `${secret}x`, undefined, 'invalid_client'],
    [client.id, '', undefined, 'invalid_client'],
    ['', secret, undefined, 'invalid_client'],
    [':', secret, undefined, 'invalid_client'],
    [`${one}:`, secret, undefined, 'invalid_client'],
    ['cli-zzzzz', secret, undefined, 'invalid_client'],
    [one, secret, undefined, 'invalid_client'],
    [`${one}:${client.id}:${one}`, secret, undefined, 'invalid_client'],
    [client.id, secret, two, 'invalid_grant'],
    [client.id, secret, 'acc-zzzzz', 'invalid_grant'],
    [client.id, secret, 'images', 'invalid_grant'],
    [`${two}:${client.id}`, secret, undefined, 'invalid_grant'],
    // The address is about one account, the name about another.
    [`${one}:${client.id}`, secret, two, 'invalid_client'],
    [`jo@example.com:${two}`, PASSWORD, one, 'invalid_client'],
    ['jo@example.com', PASSWORD, foreign, 'invalid_grant'],
    [`${foreign}:jo@example.com`, PASSWORD, undefined, 'invalid_grant'],
    // Whether he is a member is for nobody who has no password.
    ['jo@example.com', 'wrong', foreign, 'invalid_client'],
    ['app-12345', 'mocbuipbiaa6k6c', undefined, 'invalid_client'],
  ]
  for (const [name, key, accountId, expected] of cases) {
    assert.equal(errorOf(await at.login(name, key, accountId)), expected, `${name} at ${accountId}`)
  }
})

test('Orbit login: wrong passwords are slowed down in every form of the name alike', async () => {
  await using at = await setUp()
  const names = ['jo@example.com', `${at.one}:jo@example.com`, `jo@example.com:${at.two}`, at.user.id]
  for (const name of [...names, 'JO@EXAMPLE.COM']) await at.login(name, 'wrong')
  const held = await at.login('jo@example.com', PASSWORD)
  assert.equal(held.ok || held.retryAfterMs, 1000)
  at.clock.at += 1000
  assert.equal(errorOf(await at.login('jo@example.com', PASSWORD)), 'none')
})

test('Orbit login: nobody can keep an API client out by guessing its secret', async () => {
  await using at = await setUp()
  for (let count = 0; count < 20; count++) await at.login(at.client.id, 'wrong')
  assert.equal(errorOf(await at.login(at.client.id, at.secret)), 'none')
})

test('Orbit tokens: say who it is in all accounts that he is a member of', async () => {
  await using at = await setUp()
  const { auth, one, two, foreign, user, client } = at
  const { token } = granted(await at.login('jo@example.com', PASSWORD, two))
  const groups = [one, `${one}:${user.id}`, two, `${two}:${user.id}`]
  const session = { clientId: null, userId: user.id, permissions: 'full', scopes: ['orbit'] } as const
  for (const [asked, accountId] of [
    [undefined, one],
    [two, two],
    [foreign, one],
    ['acc-zzzzz', one],
  ] as const) {
    const identity = granted(await auth.orbit.identify(token, asked))
    const { standing } = identity.session
    assert.deepEqual(identity, { session: { ...session, accountId, standing }, groups }, asked)
  }
  const own = granted(await at.login(client.id, at.secret))
  const identity = granted(await auth.orbit.identify(own.token, two))
  const { standing } = identity.session
  const ofClient = { accountId: one, clientId: client.id, userId: null, standing }
  assert.deepEqual(identity, {
    session: { ...ofClient, permissions: 'storage', scopes: ['orbit'] },
    groups: [one, `${one}:${client.id}`],
  })
})

test('Orbit tokens: open nothing but Orbit', async () => {
  await using at = await setUp()
  const { token } = granted(await at.login('jo@example.com', PASSWORD))
  const session = granted(await at.auth.authenticate(token))
  assert.deepEqual(session.scopes, ['orbit'])
  await assert.rejects(at.auth.users.list(session), { code: 'denied' })
  await assert.rejects(at.auth.keys.list(session), { code: 'denied' })
})

test("Orbit tokens: the API's own are taken where they are for Orbit", async () => {
  await using at = await setUp()
  const { client, secret } = await at.auth.operator.createClient(at.two, {})
  const issue = async (scope?: string) => {
    const request = { grantType: 'client_credentials', scope }
    return granted(await at.auth.issue({ id: client.id, secret }, request)).accessToken
  }
  const identity = granted(await at.auth.orbit.identify(await issue()))
  assert.equal(identity.session.accountId, at.two)
  assert.deepEqual(identity.session.scopes, ['infrastructure', 'orbit'])
  assert.equal(errorOf(await at.auth.orbit.identify(await issue('orbit'))), 'none')
  assert.equal(errorOf(await at.auth.orbit.identify(await issue('infrastructure'))), 'invalid_scope')
})

test('Orbit tokens: unknown, malformed, expired and refresh tokens are refused', async () => {
  await using at = await setUp()
  const { token } = granted(await at.login(at.client.id, at.secret))
  for (const wrong of ['', 'x', token.toUpperCase(), `${token} `, '0'.repeat(40)]) {
    assert.equal(errorOf(await at.auth.orbit.identify(wrong)), 'invalid_token', JSON.stringify(wrong))
  }
  const application = { id: 'app-12345', secret: 'mocbuipbiaa6k6c' }
  const request = { grantType: 'password', username: 'jo@example.com', password: PASSWORD }
  const { refreshToken } = granted(await at.auth.issue(application, request))
  assert.equal(errorOf(await at.auth.orbit.identify(refreshToken ?? '')), 'invalid_token')
  at.clock.at += 2 * HOUR - 1
  assert.equal(errorOf(await at.auth.orbit.identify(token)), 'none')
  at.clock.at += 1
  assert.equal(errorOf(await at.auth.orbit.identify(token)), 'expired_token')
})

test('Orbit tokens: end with their API client, and with the password they were given for', async () => {
  await using at = await setUp()
  const { auth, client, secret, user } = at
  const { token } = granted(await at.login(client.id, secret))
  await at.catalog.apiClients.update(client.id, { revokedAt: at.clock.at })
  assert.equal(errorOf(await auth.orbit.identify(token)), 'invalid_token')
  assert.equal(errorOf(await at.login(client.id, secret)), 'invalid_client')
  const own = granted(await at.login(user.id, PASSWORD))
  await auth.operator.setPassword(user.id, 'another long one')
  assert.equal(errorOf(await auth.orbit.identify(own.token)), 'invalid_token')
})

test('suspended accounts: are as if their people were no members', async () => {
  await using at = await setUp()
  const { auth, one, two, user } = at
  const client = granted(await at.login(at.client.id, at.secret))
  const { token } = granted(await at.login(user.id, PASSWORD))
  await at.auth.operator.setAccountStatus(one, 'suspended')
  assert.equal(errorOf(await at.login(at.client.id, at.secret)), 'invalid_grant')
  assert.equal(errorOf(await auth.orbit.identify(client.token)), 'invalid_grant')
  assert.equal(errorOf(await at.login(user.id, PASSWORD, one)), 'invalid_grant')
  const identity = granted(await auth.orbit.identify(token, one))
  assert.equal(identity.session.accountId, two)
  assert.deepEqual(identity.groups, [two, `${two}:${user.id}`])
  assert.equal(granted(await at.login(user.id, PASSWORD)).accountId, two)
  await at.auth.operator.setAccountStatus(two, 'suspended')
  assert.equal(errorOf(await auth.orbit.identify(token)), 'invalid_grant')
})

function newKey(): { blob: Buffer; line: string } {
  const { x = '' } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
  const fields = [Buffer.from('ssh-ed25519'), Buffer.from(x, 'base64url')]
  const length = (field: Buffer) => Buffer.from([0, 0, 0, field.length])
  const blob = Buffer.concat(fields.flatMap((field) => [length(field), field]))
  return { blob, line: `ssh-ed25519 ${blob.toString('base64')}` }
}

test('SSH keys: let in whose they are, in every form of the name', async () => {
  await using at = await setUp()
  const { auth, one, two, foreign, user, client } = at
  const full = await auth.operator.createClient(one, {})
  const credentials = { id: full.client.id, secret: full.secret }
  const { accessToken } = granted(await auth.issue(credentials, { grantType: 'client_credentials' }))
  const session = granted(await auth.authenticate(accessToken))
  const [own, clients, inField] = [newKey(), newKey(), newKey()]
  await auth.keys.add({ ...session, clientId: null, userId: user.id }, { line: own.line })
  await auth.keys.add(session, { line: clients.line, clientId: client.id })
  await at.catalog.users.update(user.id, { sshKey: `ssh-rsa AAAA old\n${inField.line} laptop\n` })
  const login = async (name: string, key: Uint8Array, accountId?: string) => {
    const result = await auth.orbit.loginByKey({ user: name, key, accountId })
    return result.ok ? result.value.session.accountId : result.error
  }
  assert.equal(await login('jo@example.com', own.blob), one)
  assert.equal(await login(`jo@example.com:${two}`, inField.blob), two)
  assert.equal(await login(user.id, own.blob, two), two)
  assert.equal(await login(`${one}:${client.id}`, clients.blob), one)
  const { session: inside, groups } = granted(
    await auth.orbit.loginByKey({ user: client.id, key: clients.blob }),
  )
  assert.deepEqual([inside.permissions, inside.scopes], ['storage', ['orbit']])
  assert.deepEqual(groups, [one, `${one}:${client.id}`])
  for (const [name, key, accountId, expected] of [
    ['jo@example.com', clients.blob, undefined, 'invalid_client'],
    ['jo@example.com', newKey().blob, undefined, 'invalid_client'],
    ['jo@example.com', new Uint8Array(), undefined, 'invalid_client'],
    ['nobody@example.com', own.blob, undefined, 'invalid_client'],
    [client.id, own.blob, undefined, 'invalid_client'],
    [full.client.id, clients.blob, undefined, 'invalid_client'],
    ['', own.blob, undefined, 'invalid_client'],
    ['jo@example.com', own.blob, foreign, 'invalid_grant'],
  ] as const) {
    assert.equal(await login(name, key, accountId), expected, name)
  }
  await at.catalog.apiClients.update(client.id, { revokedAt: at.clock.at })
  assert.equal(await login(client.id, clients.blob), 'invalid_client')
})
