import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { basic, startApi } from '../../../test/support/api-server.ts'

const server = await startApi()
after(() => server[Symbol.asyncDispose]())
const credentials = basic(server.client.id, server.secret)
const user = await server.auth.operator.createUser({
  name: 'Jo',
  email: 'jo@example.com',
  password: 'correct horse battery',
  accountIds: [server.account.id],
})
const APP = basic('app-12345', 'mocbuipbiaa6k6c')

interface TokenBody {
  access_token: string
  refresh_token?: string
  token_type: string
  scope: string
  expires_in: number
  error: string
  error_description: string
}

async function post(body: string | undefined, headers: Record<string, string>, path = '/token') {
  const response = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers,
    ...(body === undefined ? {} : { body }),
  })
  return { status: response.status, headers: response.headers, body: (await response.json()) as TokenBody }
}
const json = (authorization: string) => ({ authorization, 'content-type': 'application/json' })
const form = { 'content-type': 'application/x-www-form-urlencoded' }

test('token: the Ruby client posts JSON to /token', async () => {
  const { status, headers, body } = await post('{"grant_type":"client_credentials"}', json(credentials))
  assert.equal(status, 200)
  assert.match(body.access_token, /^[0-9a-f]{40}$/)
  assert.deepEqual(
    { ...body, access_token: '' },
    {
      access_token: '',
      token_type: 'Bearer',
      scope: 'infrastructure, orbit',
      expires_in: 7200,
    },
  )
  assert.equal(headers.get('cache-control'), 'no-store')
})

test('token: clients in Go post a form to /token/, with Basic or with the secret in the form', async () => {
  const grant = 'grant_type=client_credentials&scope=infrastructure+orbit'
  assert.equal((await post(grant, { ...form, authorization: credentials }, '/token/')).status, 200)
  const inForm = `client_id=${server.client.id}&client_secret=${server.secret}&${grant}`
  assert.equal((await post(inForm, form, '/token/')).status, 200)
})

test('token: secrets have at most 35 letters and digits, which is what the Ruby client can send', () => {
  assert.match(server.secret, /^[a-z0-9]{15,35}$/)
})

test('token: a password gives a pair, and refreshing it a new one', async () => {
  const grant = { grant_type: 'password', username: 'jo@example.com', password: 'correct horse battery' }
  const first = await post(JSON.stringify(grant), json(APP))
  assert.equal(first.status, 200)
  const byId = await post(JSON.stringify({ ...grant, username: user.id }), json(APP))
  assert.equal(byId.status, 200)
  const refresh = JSON.stringify({ grant_type: 'refresh_token', refresh_token: first.body.refresh_token })
  const second = await post(refresh, json(APP))
  assert.equal(second.status, 200)
  assert.notEqual(second.body.refresh_token, first.body.refresh_token)
  const again = await post(refresh, json(APP))
  assert.deepEqual([again.status, again.body.error], [400, 'invalid_grant'])
})

test('token: wrong credentials of any kind are a 401, which the official client understands', async () => {
  const grant = '{"grant_type":"client_credentials"}'
  const password = '{"grant_type":"password","username":"nobody@example.com","password":"wrong password"}'
  const cases = [
    [grant, json(basic(server.client.id, 'wrong'))],
    [grant, json(basic('cli-zzzzz', 'wrong'))],
    [grant, json('Basic %%%')],
    [grant, { 'content-type': 'application/json' }],
    [password, json(APP)],
  ] as const
  for (const [body, headers] of cases) {
    const answer = await post(body, headers)
    assert.deepEqual([answer.status, answer.body.error], [401, 'invalid_client'])
    assert.equal(answer.headers.get('www-authenticate'), 'Basic realm="127.0.0.1"')
    assert.equal(typeof answer.body.error_description, 'string')
  }
})

test('token: what is wrong with the request is a 400 in the words of OAuth', async () => {
  const cases = [
    ['{"grant_type":"client_credentials"}', APP, 'unauthorized_client'],
    ['{"grant_type":"magic"}', credentials, 'unsupported_grant_type'],
    ['{"grant_type":7}', credentials, 'invalid_request'],
    ['{}', credentials, 'invalid_request'],
    ['[1]', credentials, 'invalid_request'],
    ['', credentials, 'invalid_request'],
    ['{"grant_type":', credentials, 'invalid_request'],
    ['{"grant_type":"client_credentials","scope":"world"}', credentials, 'invalid_scope'],
  ] as const
  for (const [body, authorization, error] of cases) {
    const answer = await post(body, json(authorization))
    assert.deepEqual([answer.status, answer.body.error], [400, error], body)
  }
  const csv = await post('a,b', { 'content-type': 'text/csv', authorization: credentials })
  assert.deepEqual([csv.status, csv.body.error], [400, 'invalid_request'])
})

test('token: after many wrong passwords the next is put off', async () => {
  const body = '{"grant_type":"password","username":"slow@example.com","password":"wrong password"}'
  for (let count = 0; count < 50; count++) {
    const answer = await post(body, json(APP))
    if (answer.status === 401) continue
    assert.equal(answer.status, 429)
    assert.ok(Number(answer.headers.get('retry-after')) >= 1)
    return
  }
  assert.fail('50 wrong passwords in a row were all looked at')
})
