import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import type { AuthResult, Credentials, TokenRequest } from './auth.ts'
import { createAuth } from './create-auth.ts'

const APPLICATION: Credentials = { id: 'app-12345', secret: 'mocbuipbiaa6k6c' }
const CLIENT_GRANT: TokenRequest = { grantType: 'client_credentials' }
const HOUR = 3600_000

async function setUp() {
  const clock = { at: Date.UTC(2026, 0, 1) }
  const catalog = await openTestCatalog()
  const auth = createAuth({ catalog, now: () => clock.at, random: randomBytes })
  const account = await auth.operator.createAccount({ name: 'Example' })
  const { client, secret } = await auth.operator.createClient(account.id, { name: 'first' })
  const credentials = { id: client.id, secret }
  const sessionOf = async (token: string) => granted(await auth.authenticate(token))
  const login = async () => sessionOf(granted(await auth.issue(credentials, CLIENT_GRANT)).accessToken)
  return { clock, catalog, auth, account, credentials, login, sessionOf, ...disposer(catalog) }
}

function disposer(catalog: AsyncDisposable) {
  return { [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose]() }
}

async function withUser() {
  const base = await setUp()
  const password = 'correct horse battery'
  const user = await base.auth.operator.createUser({
    name: 'Jo',
    email: 'Jo@Example.com',
    password,
    accountIds: [base.account.id],
  })
  const loginAs = (username: string, word: string, scope?: string) =>
    base.auth.issue(APPLICATION, { grantType: 'password', username, password: word, scope })
  return { ...base, user, password, loginAs }
}

function granted<T>(result: AuthResult<T>): T {
  if (!result.ok) throw new Error(`${result.error}: ${result.description}`)
  return result.value
}

function errorOf(result: AuthResult<unknown>): string {
  return result.ok ? 'none' : result.error
}

test('client credentials: give a token of 40 hex digits for two hours, both scopes and no refresh token', async () => {
  await using setup = await setUp()
  const { auth, credentials, account } = setup
  const issued = granted(await auth.issue(credentials, CLIENT_GRANT))
  assert.match(issued.accessToken, /^[0-9a-f]{40}$/)
  assert.equal(issued.refreshToken, undefined)
  assert.equal(issued.expiresIn, 7200)
  const { standing, ...session } = granted(await auth.authenticate(issued.accessToken))
  assert.match(standing ?? '', /^[0-9a-f]{64}$/)
  assert.deepEqual(session, {
    accountId: account.id,
    clientId: credentials.id,
    userId: null,
    permissions: 'full',
    scopes: ['infrastructure', 'orbit'],
  })
})

test('secrets: fit into the official clients, whatever they were made from', async () => {
  await using setup = await setUp()
  assert.match(setup.credentials.secret, /^[0-9a-z]{15,35}$/)
})

test('token endpoint: what is wrong with a request has the word that clients expect', async () => {
  await using setup = await withUser()
  const { auth, credentials, loginAs, password } = setup
  const cases: [string, Credentials | undefined, TokenRequest][] = [
    ['invalid_client', undefined, CLIENT_GRANT],
    ['invalid_client', { id: credentials.id, secret: 'wrong' }, CLIENT_GRANT],
    ['invalid_client', { id: credentials.id, secret: '' }, CLIENT_GRANT],
    ['invalid_client', { id: 'cli-zzzzz', secret: credentials.secret }, CLIENT_GRANT],
    ['invalid_client', { id: '', secret: '' }, CLIENT_GRANT],
    ['invalid_client', { ...APPLICATION, secret: 'wrong' }, CLIENT_GRANT],
    ['unauthorized_client', APPLICATION, CLIENT_GRANT],
    ['unauthorized_client', credentials, { grantType: 'password', username: 'jo@example.com', password }],
    ['unauthorized_client', credentials, { grantType: 'refresh_token', refreshToken: '0'.repeat(40) }],
    ['invalid_request', credentials, { grantType: undefined }],
    ['invalid_request', APPLICATION, { grantType: 'password', username: 'jo@example.com' }],
    ['invalid_request', APPLICATION, { grantType: 'refresh_token' }],
    ['unsupported_grant_type', credentials, { grantType: 'authorization_code' }],
    ['invalid_scope', credentials, { ...CLIENT_GRANT, scope: 'infrastructure everything' }],
    ['invalid_grant', APPLICATION, { grantType: 'refresh_token', refreshToken: '0'.repeat(40) }],
  ]
  for (const [expected, who, request] of cases) {
    assert.equal(
      errorOf(await auth.issue(who, request)),
      expected,
      JSON.stringify([who?.id, request.grantType]),
    )
  }
  assert.equal(errorOf(await loginAs('jo@example.com', 'wrong password')), 'invalid_client')
  assert.equal(errorOf(await loginAs('nobody@example.com', password)), 'invalid_client')
})

test('scopes: commas and spaces separate them, and a client for storage never gets more than orbit', async () => {
  await using setup = await setUp()
  const { auth, account, credentials } = setup
  const one = granted(await auth.issue(credentials, { ...CLIENT_GRANT, scope: 'orbit' }))
  assert.deepEqual(one.scopes, ['orbit'])
  const { client, secret } = await auth.operator.createClient(account.id, { permissions: 'storage' })
  const storage = { id: client.id, secret }
  const both = granted(await auth.issue(storage, { ...CLIENT_GRANT, scope: 'infrastructure, orbit' }))
  assert.deepEqual(both.scopes, ['orbit'])
  assert.equal(
    errorOf(await auth.issue(storage, { ...CLIENT_GRANT, scope: 'infrastructure' })),
    'invalid_scope',
  )
})

test('access tokens: unknown, malformed and expired ones are told apart, also after the clean-up', async () => {
  await using setup = await setUp()
  const { auth, clock, credentials } = setup
  const { accessToken } = granted(await auth.issue(credentials, CLIENT_GRANT))
  for (const token of ['', 'x', accessToken.toUpperCase(), `${accessToken} `, '0'.repeat(40)]) {
    assert.equal(errorOf(await auth.authenticate(token)), 'invalid_token', JSON.stringify(token))
  }
  clock.at += 2 * HOUR - 1
  assert.equal(errorOf(await auth.authenticate(accessToken)), 'none')
  clock.at += 1
  assert.equal(errorOf(await auth.authenticate(accessToken)), 'expired_token')
  assert.equal(await auth.operator.removeExpiredTokens(), 0)
  clock.at += 8 * 24 * HOUR
  assert.equal(await auth.operator.removeExpiredTokens(), 1)
  assert.equal(errorOf(await auth.authenticate(accessToken)), 'invalid_token')
})

test('access tokens: neither they nor secrets nor passwords stand in the catalog', async () => {
  await using setup = await withUser()
  const { auth, catalog, credentials, password, loginAs, user } = setup
  const { accessToken } = granted(await auth.issue(credentials, CLIENT_GRANT))
  granted(await loginAs(user.id, password))
  assert.equal(await catalog.tokens.find(accessToken), undefined)
  assert.notEqual(await catalog.apiClients.findSecret(credentials.id), credentials.secret)
  assert.match((await catalog.users.findPassword(user.id)) ?? '', /^scrypt\$32768\$8\$3\$/)
})

test('access tokens: a refresh token is none', async () => {
  await using setup = await withUser()
  const { auth, loginAs, password } = setup
  const { refreshToken } = granted(await loginAs('jo@example.com', password))
  assert.equal(errorOf(await auth.authenticate(refreshToken ?? '')), 'invalid_token')
})

test("accounts: a foreign account does not exist, one's own may be named", async () => {
  await using setup = await setUp()
  const { auth, account, credentials } = setup
  const foreign = await auth.operator.createAccount({ name: 'Other' })
  const { accessToken } = granted(await auth.issue(credentials, CLIENT_GRANT))
  assert.equal(granted(await auth.authenticate(accessToken, account.id)).accountId, account.id)
  await assert.rejects(auth.authenticate(accessToken, foreign.id), { code: 'not_found' })
  await assert.rejects(auth.authenticate(accessToken, 'acc-zzzzz'), { code: 'not_found' })
})

test('users: act on each of their accounts, on the first where none is named', async () => {
  await using setup = await withUser()
  const { auth, account } = setup
  const second = await auth.operator.createAccount({ name: 'Second' })
  const third = await auth.operator.createAccount({ name: 'Third' })
  const accountIds = [second.id, account.id]
  await auth.operator.createUser({ name: 'Al', email: 'al@example.com', password: 'long enough', accountIds })
  const request = { grantType: 'password', username: 'al@example.com', password: 'long enough' }
  const { accessToken } = granted(await auth.issue(APPLICATION, request))
  const session = granted(await auth.authenticate(accessToken))
  assert.equal(session.accountId, second.id)
  assert.equal(granted(await auth.authenticate(accessToken, account.id)).accountId, account.id)
  await assert.rejects(auth.authenticate(accessToken, third.id), { code: 'not_found' })
  assert.deepEqual(
    (await auth.accounts.list(session)).map((own) => own.id),
    accountIds,
  )
  assert.equal((await auth.accounts.show(session, account.id)).id, account.id)
  await assert.rejects(auth.accounts.show(session, third.id), { code: 'not_found' })
  assert.deepEqual((await auth.users.self(session)).accountIds, accountIds)
})

test('refresh: gives a new pair once; the old refresh token ends, the old access token lives on', async () => {
  await using setup = await withUser()
  const { auth, clock, loginAs, password } = setup
  const first = granted(await loginAs('JO@example.com', password, 'orbit'))
  const request = { grantType: 'refresh_token', refreshToken: first.refreshToken }
  const terraform = { id: 'app-dkmch', secret: 'uogoelzgt0nwawb' }
  assert.equal(errorOf(await auth.issue(terraform, request)), 'invalid_grant')
  assert.equal(
    errorOf(await auth.issue(APPLICATION, { ...request, scope: 'infrastructure' })),
    'invalid_scope',
  )
  const both = await Promise.all([auth.issue(APPLICATION, request), auth.issue(APPLICATION, request)])
  assert.deepEqual(both.map(errorOf).sort(), ['invalid_grant', 'none'])
  const second = granted(both.find((result) => result.ok) ?? both[0])
  assert.deepEqual(second.scopes, ['orbit'])
  assert.notEqual(second.refreshToken, first.refreshToken)
  assert.equal(errorOf(await auth.authenticate(first.accessToken)), 'none')
  clock.at += 31 * 24 * HOUR
  const late = { grantType: 'refresh_token', refreshToken: second.refreshToken }
  assert.equal(errorOf(await auth.issue(APPLICATION, late)), 'invalid_grant')
})

test('revoking: the client gets no more tokens, and those it has end', async () => {
  await using setup = await setUp()
  const { auth, clock, credentials, login } = setup
  const session = await login()
  const { client, secret } = await auth.clients.create(session, { name: 'ci' })
  const ci = { id: client.id, secret }
  const { accessToken } = granted(await auth.issue(ci, CLIENT_GRANT))
  const revoked = await auth.clients.revoke(session, client.id)
  assert.equal(revoked.revokedAt, clock.at)
  clock.at += HOUR
  assert.equal((await auth.clients.revoke(session, client.id)).revokedAt, revoked.revokedAt)
  assert.equal(errorOf(await auth.issue(ci, CLIENT_GRANT)), 'invalid_client')
  assert.equal(errorOf(await auth.authenticate(accessToken)), 'invalid_token')
  await assert.rejects(auth.clients.resetSecret(session, client.id), { code: 'conflict' })
  assert.deepEqual(
    (await auth.clients.list(session)).map((listed) => listed.id),
    [credentials.id],
  )
  assert.equal((await auth.clients.show(session, client.id)).revokedAt, revoked.revokedAt)
})

test('resetting a secret: the old one, and what it was given, is worth nothing from then on', async () => {
  await using setup = await setUp()
  const { auth, credentials, login } = setup
  const { accessToken } = granted(await auth.issue(credentials, CLIENT_GRANT))
  const reset = await auth.clients.resetSecret(await login(), credentials.id)
  assert.equal(errorOf(await auth.authenticate(accessToken)), 'invalid_token')
  assert.equal(errorOf(await auth.issue(credentials, CLIENT_GRANT)), 'invalid_client')
  assert.equal(errorOf(await auth.issue({ ...credentials, secret: reset.secret }, CLIENT_GRANT)), 'none')
})

test('API clients: those of another account do not exist, and their fields are checked', async () => {
  await using setup = await setUp()
  const { auth, login } = setup
  const session = await login()
  const foreign = await auth.operator.createAccount({ name: 'Other' })
  const { client } = await auth.operator.createClient(foreign.id, {})
  for (const attempt of [
    () => auth.clients.show(session, client.id),
    () => auth.clients.update(session, client.id, { name: 'mine' }),
    () => auth.clients.revoke(session, client.id),
    () => auth.clients.resetSecret(session, client.id),
  ]) {
    await assert.rejects(attempt, { code: 'not_found' })
  }
  await assert.rejects(auth.clients.create(session, { name: 'x'.repeat(256) }), /^LibraryError: name must/)
  await assert.rejects(
    auth.clients.create(session, { permissions: 'root' as 'full' }),
    /permissions_group must/,
  )
  await assert.rejects(auth.operator.createClient('acc-zzzzz', {}), { code: 'not_found' })
})

test('wrong passwords: after five, not even the right one is checked for a while, for that user', async () => {
  await using setup = await withUser()
  const { clock, loginAs, password, user } = setup
  for (let count = 0; count < 5; count++) {
    const result = await loginAs('jo@example.com', 'wrong')
    assert.equal(result.ok || result.retryAfterMs, undefined)
  }
  // By its id it is the same user.
  const held = await loginAs(user.id, password)
  assert.equal(held.ok || held.retryAfterMs, 1000)
  assert.equal(errorOf(await loginAs('nobody@example.com', password)), 'invalid_client')
  clock.at += 1000
  assert.equal(errorOf(await loginAs('jo@example.com', password)), 'none')
  assert.equal(errorOf(await loginAs('jo@example.com', 'wrong')), 'invalid_client')
  assert.equal(errorOf(await loginAs('jo@example.com', password)), 'none')
})

test('wrong passwords: a flood of them is answered at once, whether there is such a user or not', async () => {
  await using setup = await withUser()
  const { loginAs, password, user } = setup
  const flood = Array.from({ length: 60 }, (_, index) => loginAs(`nobody${index}@example.com`, password))
  const late = await Promise.all([loginAs(user.id, password), loginAs('unknown@example.com', password)])
  for (const result of late) assert.equal(result.ok || result.retryAfterMs, 2000)
  assert.deepEqual(late[0], late[1])
  const results = await Promise.all(flood)
  const checked = results.filter((result) => !result.ok && result.retryAfterMs === undefined)
  assert.equal(checked.length, 18)
  // Being turned away was no failure of the user's.
  assert.equal(errorOf(await loginAs(user.id, password)), 'none')
})

test('users: email addresses are one each whatever their case, and fields are checked', async () => {
  await using setup = await withUser()
  const { auth, account } = setup
  const make = (change: object) =>
    auth.operator.createUser({
      name: 'Al',
      email: 'al@example.com',
      password: 'long enough',
      accountIds: [account.id],
      ...change,
    })
  await assert.rejects(make({ email: 'JO@EXAMPLE.COM' }), { code: 'conflict' })
  await assert.rejects(make({ email: 'nowhere' }), /email_address must/)
  await assert.rejects(make({ password: 'short' }), /password must/)
  await assert.rejects(make({ name: ' ' }), /name must/)
  await assert.rejects(make({ accountIds: ['acc-zzzzz'] }), { code: 'not_found' })
  await assert.rejects(make({ accountIds: [] }), { code: 'invalid' })
  assert.deepEqual(
    (await auth.users.list({ ...(await setup.login()) })).map((user) => user.name),
    ['Jo'],
  )
})

test('users: a new password ends the logins made with the old one', async () => {
  await using setup = await withUser()
  const { auth, loginAs, password, sessionOf, user } = setup
  const { accessToken, refreshToken } = granted(await loginAs('jo@example.com', password))
  const session = await sessionOf(accessToken)
  const changed = await auth.users.update(session, user.id, { password: 'another long one', name: 'Joe' })
  assert.equal(changed.name, 'Joe')
  assert.equal(errorOf(await auth.authenticate(accessToken)), 'invalid_token')
  assert.equal(
    errorOf(await auth.issue(APPLICATION, { grantType: 'refresh_token', refreshToken })),
    'invalid_grant',
  )
  assert.equal(errorOf(await loginAs('jo@example.com', password)), 'invalid_client')
  assert.equal(errorOf(await loginAs('jo@example.com', 'another long one')), 'none')
})

test('users: an API client is not one, and may change none', async () => {
  await using setup = await withUser()
  const { auth, login, user } = setup
  const session = await login()
  await assert.rejects(auth.users.self(session), { code: 'not_found' })
  await assert.rejects(auth.users.update(session, user.id, { name: 'X' }), { code: 'denied' })
  await assert.rejects(auth.users.show(session, 'usr-zzzzz'), { code: 'not_found' })
  assert.equal((await auth.users.show(session, user.id)).email, 'jo@example.com')
})

test('users: learn of few email addresses whether they are taken', async () => {
  await using setup = await withUser()
  const { auth, account, clock, loginAs, password, sessionOf } = setup
  const attributes = { name: 'Al', email: 'al@example.com', password, accountIds: [account.id] }
  const al = await auth.operator.createUser(attributes)
  const session = await sessionOf(granted(await loginAs(al.email, password)).accessToken)
  const wish = (email: string) => auth.users.update(session, al.id, { email })
  const told = await Promise.allSettled(Array.from({ length: 20 }, () => wish('jo@example.com')))
  const codes = told.map((result) => (result.status === 'rejected' ? result.reason.code : 'none'))
  assert.equal(codes.filter((code) => code === 'conflict').length, 5)
  assert.equal(codes.filter((code) => code === 'denied').length, 15)
  await assert.rejects(wish('free@example.com'), { code: 'denied' })
  assert.equal((await auth.users.update(session, al.id, { name: 'Ali' })).name, 'Ali')
  clock.at += HOUR / 2
  assert.equal((await wish('free@example.com')).email, 'free@example.com')
})

test("accounts: Orbit's quota is set and taken away, the rest of the metadata stays", async () => {
  await using setup = await setUp()
  const { auth, account, catalog } = setup
  await catalog.orbitAccounts.setMetadata(account.id, { colour: 'blue' })
  const metadata = async () => (await catalog.orbitAccounts.find(account.id))?.metadata
  await auth.operator.setOrbitQuota(account.id, 1024)
  assert.deepEqual(await metadata(), { colour: 'blue', 'quota-bytes': '1024' })
  await auth.operator.setOrbitQuota(account.id, null)
  assert.deepEqual(await metadata(), { colour: 'blue' })
  await assert.rejects(auth.operator.setOrbitQuota('acc-zzzzz', 1), { code: 'not_found' })
})

test('accounts: show their images in Orbit unless they were made without', async () => {
  await using setup = await setUp()
  const { auth, account, catalog } = setup
  const without = await auth.operator.createAccount({ name: 'Tests', imagesContainer: false })
  assert.equal((await catalog.orbitAccounts.find(account.id))?.imagesContainer, true)
  assert.equal((await catalog.orbitAccounts.find(without.id))?.imagesContainer, false)
})

test('a session for storage may not touch accounts, users or API clients', async () => {
  await using setup = await setUp()
  const { auth, account } = setup
  const { client, secret } = await auth.operator.createClient(account.id, { permissions: 'storage' })
  const { accessToken } = granted(await auth.issue({ id: client.id, secret }, CLIENT_GRANT))
  const session = granted(await auth.authenticate(accessToken))
  for (const attempt of [
    () => auth.clients.create(session, { permissions: 'full' }),
    () => auth.clients.list(session),
    () => auth.clients.resetSecret(session, client.id),
    () => auth.accounts.update(session, account.id, { name: 'mine' }),
    () => auth.users.list(session),
  ]) {
    await assert.rejects(attempt, { code: 'denied' })
  }
})
