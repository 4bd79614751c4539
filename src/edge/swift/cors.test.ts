import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask } = fixture

const PAGE = 'http://page.example'
const META = 'X-Container-Meta-Access-Control'

await ask('PUT', '/open', { headers: { [`${META}-Allow-Origin`]: '*', 'X-Container-Read': '.r:*' } })
await ask('PUT', '/some', {
  headers: {
    [`${META}-Allow-Origin`]: ` http://other.example  ${PAGE} `,
    [`${META}-Max-Age`]: '60',
    [`${META}-Expose-Headers`]: 'X-One  x-two',
    'X-Container-Read': '.r:*',
  },
})
for (const container of ['open', 'some'])
  await ask('PUT', `/${container}/o`, { body: 'x', headers: { 'X-Object-Meta-Colour': 'red' } })

const preflight = (path: string, headers: Record<string, string>) =>
  ask('OPTIONS', path, { token: null, headers })
const wish = (origin: string, method = 'PUT') => ({ Origin: origin, 'Access-Control-Request-Method': method })

test('preflight: an allowed page learns what it may send, without a token', async () => {
  const { status, headers, text } = await preflight('/some/o', {
    ...wish(PAGE),
    'Access-Control-Request-Headers': 'x-auth-token, content-type,, x-auth-token',
  })
  assert.deepEqual([status, text], [200, ''])
  assert.equal(headers['access-control-allow-origin'], PAGE)
  assert.equal(headers['access-control-max-age'], '60')
  assert.equal(headers['access-control-allow-headers'], 'x-auth-token, content-type')
  assert.equal(headers['access-control-allow-methods'], headers.allow)
  assert.match(headers.allow ?? '', /PUT.*COPY/)
  assert.equal(headers.vary, 'Origin, Access-Control-Request-Headers')
})

test('preflight: where all pages are allowed, the answer is the same for all', async () => {
  const { headers } = await preflight('/open', wish(PAGE, 'GET'))
  assert.equal(headers['access-control-allow-origin'], '*')
  assert.equal(headers.vary, undefined)
  assert.equal(headers['access-control-max-age'], undefined)
  assert.equal(headers['access-control-allow-headers'], undefined)
})

test('preflight: anything else is a 401 that allows nothing', async () => {
  const refused: [string, Record<string, string>][] = [
    ['/some/o', wish('http://foreign.example')],
    ['/some/o', wish(`${PAGE}.example`)],
    ['/some/o', wish('*')],
    ['/some/o', wish('')],
    ['/some/o', wish(PAGE, 'PATCH')],
    ['/some/o', wish(PAGE, 'put')],
    ['/some', wish(PAGE, 'COPY')],
    ['/some/o', { Origin: PAGE }],
    ['/c/o', wish(PAGE)],
    ['/missing/o', wish(PAGE)],
  ]
  for (const [path, headers] of refused) {
    const answer = await preflight(path, headers)
    assert.equal(answer.status, 401, JSON.stringify([path, headers]))
    assert.equal(answer.headers['access-control-allow-origin'], undefined)
  }
})

test('preflight: an account has methods but no policy', async () => {
  const { status, headers } = await preflight('', wish(PAGE, 'GET'))
  assert.deepEqual([status, headers.allow], [200, 'OPTIONS, GET, HEAD, POST'])
  assert.equal(headers['access-control-allow-origin'], undefined)
})

test('requests from pages: may read the answer, also of errors, and which headers are named', async () => {
  const answer = await ask('GET', '/some/o', { token: null, headers: { Origin: PAGE } })
  assert.equal(answer.headers['access-control-allow-origin'], PAGE)
  assert.equal(answer.headers.vary, 'Origin')
  const exposed = (answer.headers['access-control-expose-headers'] ?? '').split(', ')
  for (const name of ['etag', 'x-trans-id', 'x-object-meta-colour', 'x-one', 'x-two'])
    assert.ok(exposed.includes(name), name)
  const missing = await ask('GET', '/some/none', { token: null, headers: { Origin: PAGE } })
  assert.deepEqual([missing.status, missing.headers['access-control-allow-origin']], [404, PAGE])
  const wrong = await ask('GET', '/some/o', { token: 'wrong', headers: { Origin: PAGE } })
  assert.deepEqual([wrong.status, wrong.headers['access-control-allow-origin']], [401, PAGE])
  const listing = await ask('GET', '/some', { headers: { Origin: PAGE } })
  assert.equal(listing.headers.vary, 'Accept, Origin')
  const open = await ask('GET', '/open/o', { token: null, headers: { Origin: PAGE } })
  assert.equal(open.headers['access-control-allow-origin'], '*')
})

test('requests from foreign pages: are answered as any other, without a word to the browser', async () => {
  for (const path of ['/some/o', '/c']) {
    const answer = await ask('GET', path, { headers: { Origin: 'http://foreign.example' } })
    assert.ok(answer.status < 300)
    const names = Object.keys(answer.headers).filter((name) => name.startsWith('access-control-allow'))
    assert.deepEqual(names, [])
    assert.equal(answer.headers['access-control-expose-headers'], undefined)
  }
})
