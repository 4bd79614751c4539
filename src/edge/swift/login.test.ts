import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask, account, client, port, auth } = fixture

const logIn = (path: string, headers: Record<string, string>, method = 'GET') =>
  ask(method, `!${path}`, { token: null, headers })
const named = { 'X-Auth-User': client.id, 'X-Auth-Key': client.secret }

test('login: a token and the address of the account, under every address and name', async () => {
  const user = await auth.operator.createUser({
    name: 'Jo',
    email: 'jo@example.com',
    password: 'pässword of Jo',
    accountIds: [account],
  })
  const utf8 = (text: string) => Buffer.from(text).toString('latin1')
  const cases = [
    ['/v1', named],
    ['/v1/', named],
    ['/v1.0', named],
    ['/auth/v1.0', named],
    ['/auth/v1.0/', named],
    [`/v1/${account}`, named],
    [`/v1/${account}/`, named],
    ['/v1', { 'X-Storage-User': client.id, 'X-Storage-Pass': client.secret }],
    ['/v1', { 'X-Auth-User': `${account}:${client.id}`, 'X-Auth-Key': client.secret }],
    [`/v1/${account}`, { 'X-Auth-User': user.email, 'X-Auth-Key': utf8('pässword of Jo') }],
  ] as const
  for (const [path, headers] of cases) {
    const answer = await logIn(path, headers)
    assert.deepEqual([answer.status, answer.text], [200, 'Authenticated'], path)
    assert.equal(answer.headers['x-storage-url'], `http://localhost:${port}/v1/${account}`)
    const token = String(answer.headers['x-auth-token'])
    assert.equal(answer.headers['x-storage-token'], token)
    assert.equal(answer.headers['x-auth-token-expires'], '7200')
    assert.equal((await ask('HEAD', '', { token })).status, 204)
    assert.equal((await ask('HEAD', '', { token: null, headers: { 'X-Storage-Token': token } })).status, 204)
  }
  assert.equal((await logIn(`/v1/${account}`, named, 'HEAD')).status, 200)
})

test('login: the address is that of the settings where there is one', async () => {
  await using own = await openSwift({ deps: { publicUrl: 'https://orbit.example.org' } })
  const headers = { 'X-Auth-User': own.client.id, 'X-Auth-Key': own.client.secret }
  const answer = await own.ask('GET', '!/v1', { token: null, headers })
  assert.equal(answer.headers['x-storage-url'], `https://orbit.example.org/v1/${own.account}`)
})

test('login: what is wrong is refused without a word about what', async () => {
  for (const [path, headers] of [
    ['/v1', { ...named, 'X-Auth-Key': 'wrong' }],
    ['/v1', { ...named, 'X-Auth-User': 'cli-zzzzz' }],
    ['/v1', { ...named, 'X-Auth-User': `acc-zzzzz:${client.id}` }],
    ['/v1/acc-zzzzz', named],
  ] as const) {
    const answer = await logIn(path, headers)
    assert.equal(answer.status, 401)
    assert.match(String(answer.headers['www-authenticate']), /^Swift realm="/)
    assert.match(answer.text, /^<html><h1>Unauthorized<\/h1>/)
  }
  for (const headers of [{}, { 'X-Auth-Key': 'x' }, { 'X-Auth-User': '', 'X-Auth-Key': 'x' }]) {
    const answer = await logIn('/v1', headers)
    assert.deepEqual([answer.status, answer.text], [412, 'Bad URL'])
  }
  assert.equal((await logIn('/v1', { ...named, Host: 'no host' })).status, 400)
})

test('access: without a token 401, with a wrong one too, without the right 403', async () => {
  await ask('PUT', '/c/o', { body: 'x' })
  const { id } = await auth.operator.createAccount({ name: 'Other' })
  const { client: stranger, secret } = await auth.operator.createClient(id, { permissions: 'full' })
  const other = await fixture.logIn({ id: stranger.id, secret })
  for (const path of ['', '/c', '/c/o', '/none/o']) {
    const nobody = await ask('GET', path, { token: null })
    assert.equal(nobody.status, 401)
    assert.equal(nobody.headers['www-authenticate'], `Swift realm="${account}"`)
    assert.equal((await ask('GET', path, { token: 'wrong' })).status, 401)
    assert.equal((await ask('GET', path, { token: other })).status, 403)
  }
  await ask('POST', '/c', { headers: { 'X-Container-Read': `.r:example.com,${id}` } })
  assert.equal((await ask('GET', '/c/o', { token: other })).text, 'x')
  const referer = { Referer: 'https://example.com/page?x' }
  assert.equal((await ask('GET', '/c/o', { token: null, headers: referer })).text, 'x')
  assert.equal((await ask('GET', '/c/o', { token: null })).status, 401)
  assert.equal((await ask('GET', '/c/o', { token: 'wrong', headers: referer })).status, 401)
  assert.equal((await ask('PUT', '/c/o', { token: other, body: 'y' })).status, 403)
})

test('info and health: anybody may ask', async () => {
  const info = await ask('GET', '!/info', { token: null })
  assert.deepEqual(Object.keys(JSON.parse(info.text)).sort(), [
    'account_quotas',
    'bulk_delete',
    'bulk_upload',
    'container_quotas',
    'dlo',
    'slo',
    'staticweb',
    'swift',
    'tempurl',
    'versioned_writes',
  ])
  assert.equal((await ask('GET', '!/healthcheck', { token: null })).text, 'OK')
  assert.equal((await ask('POST', '!/info', { token: null })).status, 405)
  await using starting = await openSwift({ deps: { readiness: async () => ['the library is starting'] } })
  const answer = await starting.ask('GET', '!/healthcheck', { token: null })
  assert.deepEqual([answer.status, answer.text], [503, 'DISABLED BY FILE'])
})
