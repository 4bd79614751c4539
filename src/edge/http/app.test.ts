import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { LibraryError } from '#base/errors.ts'
import { createApp } from './app.ts'
import { OAuthProblem } from './problems.ts'

const SECRET = 'postgres://user:password@db/inside'

async function makeApp() {
  const app = await createApp({ logger: pino({ level: 'silent' }) })
  app.post('/echo', async (request) => ({ body: request.body ?? null }))
  app.put(
    '/strict',
    {
      schema: {
        body: {
          type: 'object',
          additionalProperties: false,
          required: ['arch'],
          properties: {
            arch: { type: 'string', enum: ['x86_64', 'i686'] },
            name: {
              type: ['string', 'null'],
              maxLength: 3,
              pattern: '^[a-z]*$',
              'x-rule': 'must be lower case',
            },
            ram: { type: ['integer', 'null'], minimum: 0 },
            public: { type: 'boolean' },
          },
        },
      },
    },
    async (request) => request.body,
  )
  const errors: Record<string, () => Error> = {
    bug: () => new Error(SECRET),
    conflict: () => new LibraryError('conflict', 'image is locked', { hint: 'unlock it first' }),
    unavailable: () => new LibraryError('unavailable', 'busy'),
    token: () => new OAuthProblem(401, 'invalid_token', 'no', { 'www-authenticate': 'OAuth' }),
    teapot: () => Object.assign(new Error(SECRET), { statusCode: 418 }),
  }
  app.get<{ Params: { kind: string } }>('/throw/:kind', async (request) => {
    throw errors[request.params.kind]?.() ?? new Error('no such case')
  })
  return app
}

test('app: an empty body is accepted whatever it calls itself', async () => {
  await using app = await makeApp()
  for (const headers of [
    { 'content-type': 'application/json' },
    { 'content-type': 'application/json', 'content-length': '0' },
    { 'content-type': 'text/csv' },
    { 'content-type': 'nonsense', 'content-length': '0' },
  ]) {
    const response = await app.inject({ method: 'POST', url: '/echo', headers })
    assert.deepEqual([response.statusCode, response.json()], [200, { body: null }])
  }
})

test('app: errors that a caller can act on keep their sentence and hint', async () => {
  await using app = await makeApp()
  const conflict = await app.inject('/throw/conflict')
  assert.equal(conflict.statusCode, 409)
  const { request_id, ...body } = conflict.json()
  assert.deepEqual(body, {
    error_name: 'resource_conflict',
    errors: ['image is locked'],
    hint: 'unlock it first',
  })
  assert.equal(request_id, conflict.headers['x-request-id'])
  assert.equal((await app.inject('/throw/unavailable')).headers['retry-after'], '5')
  const token = await app.inject('/throw/token')
  assert.deepEqual(token.json(), { error: 'invalid_token', error_description: 'no' })
  assert.equal(token.headers['www-authenticate'], 'OAuth')
})

test('app: what was not meant for the outside stays inside', async () => {
  await using app = await makeApp()
  for (const kind of ['bug', 'teapot']) {
    const response = await app.inject(`/throw/${kind}`)
    const expected = kind === 'bug' ? [500, 'internal_error'] : [418, 'bad_request']
    assert.deepEqual([response.statusCode, response.json().error_name], expected)
    assert.ok(!response.body.includes('postgres') && !response.body.includes('at '), response.body)
    assert.ok(Array.isArray(response.json().errors))
  }
})

test('app: whatever the router or the parsers refuse is refused in JSON', async () => {
  await using app = await makeApp()
  const json = { 'content-type': 'application/json' }
  const cases = [
    [{ url: '/nothing/here' }, 404, 'missing_resource'],
    [{ method: 'PATCH', url: '/echo' }, 404, 'missing_resource'],
    [{ url: '/throw/%ff' }, 400, 'bad_request'],
    [{ url: `/throw/${'x'.repeat(5000)}` }, 414, 'uri_too_long'],
    [{ method: 'POST', url: '/echo', headers: json, payload: '{"a":' }, 400, 'malformed_json'],
    [{ method: 'POST', url: '/echo', headers: json, payload: '{"__proto__":{}}' }, 400, 'malformed_json'],
    [{ method: 'POST', url: '/echo', headers: json, payload: `"${'x'.repeat(300_000)}"` }, 413, 'too_large'],
    [
      { method: 'POST', url: '/echo', headers: { 'content-type': 'text/csv' }, payload: 'a' },
      415,
      'unsupported_media_type',
    ],
  ] as const
  for (const [options, status, name] of cases) {
    const response = await app.inject(options)
    const seen = [response.statusCode, response.json().error_name]
    assert.deepEqual(seen, [status, name], response.body)
    assert.equal(typeof response.json().errors[0], 'string')
    assert.match(String(response.headers['content-type']), /^application\/json; charset=utf-8/)
  }
})

test('app: every rule that a body breaks is named with its field', async () => {
  await using app = await makeApp()
  const errorsOf = async (payload: unknown) => {
    const headers = { 'content-type': 'application/json' }
    const response = await app.inject({
      method: 'PUT',
      url: '/strict',
      headers,
      payload: JSON.stringify(payload),
    })
    assert.equal(response.statusCode, 422)
    assert.equal(response.json().error_name, 'unprocessable_entity')
    return response.json().errors
  }
  assert.deepEqual(await errorsOf({ arch: 'arm64' }), ['arch must be one of x86_64, i686'])
  assert.deepEqual(await errorsOf({}), ['arch is required'])
  assert.deepEqual(await errorsOf({ arch: 'i686', nmae: 'x' }), ['nmae is not a field that can be set here'])
  assert.deepEqual(await errorsOf({ arch: 'i686', ram: '512', public: 'yes' }), [
    'ram must be an integer or null',
    'public must be true or false',
  ])
  assert.deepEqual(await errorsOf({ arch: 'i686', ram: -1 }), ['ram must be >= 0'])
  assert.deepEqual(await errorsOf({ arch: 'i686', name: 'ABCD' }), [
    'name must have at most 3 characters',
    'name must be lower case',
  ])
  assert.deepEqual(await errorsOf(null), ['the body must be a JSON object'])
  assert.deepEqual(await errorsOf([1]), ['the body must be a JSON object'])
  const empty = await app.inject({
    method: 'PUT',
    url: '/strict',
    headers: { 'content-type': 'application/json' },
  })
  assert.deepEqual([empty.statusCode, empty.json().errors], [422, ['the body must be a JSON object']])
})

test('app: what is not HTTP, or too much of it, is answered in JSON', async () => {
  await using app = await makeApp()
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const cases = [
    ['NONSENSE\r\n\r\n', 400, 'bad_request'],
    ['LICK /x HTTP/1.1\r\nHost: h\r\n\r\n', 405, 'method_not_allowed'],
    ['GET_x /x HTTP/1.1\r\nHost: h\r\n\r\n', 405, 'method_not_allowed'],
    ['GET /a b HTTP/1.1\r\nHost: h\r\n\r\n', 400, 'bad_request'],
    [`GET /${'x'.repeat(100_000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 431, 'too_large'],
    ['GET /throw/bug HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'bad_request'],
    ['GET /throw/bug HTTP/1.1\r\nHost: a:b\r\nConnection: close\r\n\r\n', 400, 'bad_request'],
    ['GET /throw/bug HTTP/1.1\r\nHost: h\r\nExpect: foo\r\n\r\n', 417, 'expectation_failed'],
    ['GET /throw/conflict HTTP/1.0\r\n\r\n', 409, 'resource_conflict'],
  ] as const
  for (const [bytes, status, name] of cases) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(bytes)
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk
    })
    await once(socket, 'close')
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `))
    const { error_name, errors } = JSON.parse(answer.split('\r\n\r\n')[1] ?? '')
    assert.deepEqual([error_name, errors.length], [name, 1])
  }
})

test('app: a request that does not arrive in time is told so', async () => {
  await using app = await makeApp()
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const connected = once(app.server, 'connection')
  const client = connect(port, '127.0.0.1').setEncoding('latin1')
  const [socket] = await connected
  app.server.emit(
    'clientError',
    Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }),
    socket,
  )
  const answer = (await client.toArray()).join('')
  assert.match(answer, /^HTTP\/1.1 408 Request Timeout\r\n.*"error_name":"request_timeout"/s)
})
