import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { after, test } from 'node:test'
import { Refusal } from '#base/refusal.ts'
import { type Call, INGESTED, startApi } from '../../../test/support/api-server.ts'

let clockAhead = 0
const server = await startApi({
  now: () => Date.now() + clockAhead,
  ingest: async ({ source }) => {
    if (source.kind === 'http' && source.url.includes('bad')) {
      throw new Refusal('bad-header', 'The qcow2 header is invalid: cluster_bits 22.', {
        hint: 'Convert it again.',
      })
    }
    return INGESTED
  },
})
after(() => server[Symbol.asyncDispose]())
const { call, url, account } = server

interface ProblemBody {
  error_name: string
  errors: string[]
}

const URL_ = 'http://example.com/disk.img'
const register = async (attributes: object = {}, by: Call = call) => {
  const { status, body } = await by('POST', '/1.0/images', { arch: 'x86_64', http_url: URL_, ...attributes })
  assert.equal(status, 201)
  await server.jobs.poll()
  await server.jobs.settled()
  return body
}
const refused = async (method: string, path: string, body?: unknown, by: Call = call) => {
  const answer = await by<ProblemBody>(method, path, body)
  assert.ok(Array.isArray(answer.body.errors))
  return [answer.status, answer.body.error_name, ...answer.body.errors]
}

test('images: register as the official command line does', async () => {
  const body =
    '{"arch":"x86_64","compatibility_mode":false,"description":"Desc","min_ram":512,"name":"Foo",' +
    '"public":false,"username":"ubuntu","http_url":"http://h/disk.img"}'
  const answer = await call('POST', `/1.0/images?account_id=${account.id}`, body)
  assert.equal(answer.status, 201)
  assert.equal(answer.headers.get('location'), `${url}/1.0/images/${answer.body.id}`)
  assert.equal(answer.headers.get('x-oauth-scopes'), 'infrastructure, orbit')
  assert.match(answer.body.id, /^img-[0-9a-z]{5}$/)
  assert.match(answer.body.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  const { id, created_at, updated_at, progress, ...rest } = answer.body
  assert.deepEqual(rest, {
    resource_type: 'image',
    url: `${url}/1.0/images/${id}`,
    name: 'Foo',
    username: 'ubuntu',
    status: 'creating',
    locked: false,
    description: 'Desc',
    source: 'disk.img',
    source_trigger: 'manual',
    arch: 'x86_64',
    official: false,
    public: false,
    owner: account.id,
    source_type: 'upload',
    virtual_size: 0,
    disk_size: 0,
    min_ram: 512,
    compatibility_mode: false,
    licence_name: null,
    ancestor: null,
    digest: null,
    failure: null,
    damaged_at: null,
    source_info: {
      url: 'http://h/disk.img',
      final_url: null,
      format: null,
      bytes: null,
      sha256: null,
      etag: null,
      last_modified: null,
      notes: [],
    },
  })
  assert.equal(progress?.percent === 100, false)
})

test('images: what the official command line leaves out arrives as null and 0', async () => {
  const image = await register({ description: null, min_ram: 0, name: null, username: null, public: true })
  assert.equal(typeof image.name, 'string')
  assert.equal(image.min_ram, null)
  assert.equal(image.description, null)
})

test('images: once available, sizes are whole MiB rounded up, and the receipt is complete', async () => {
  const { id } = await register()
  const { body } = await call('GET', `/1.0/images/${id}`)
  assert.deepEqual([body.status, body.virtual_size, body.disk_size], ['available', 2048, 513])
  assert.equal(body.digest, `sha256:${INGESTED.manifest}`)
  assert.equal(body.source_info?.format, 'xz+raw')
  assert.equal(body.source_info?.sha256, INGESTED.source.sha256)
  assert.equal(typeof body.source, 'string')
})

test('images: a failure says what, why and what next', async () => {
  const { id } = await register({ http_url: 'http://example.com/bad.img' })
  const { body } = await call('GET', `/1.0/images/${id}`)
  assert.equal(body.status, 'failed')
  assert.equal(body.failure?.code, 'bad-header')
  assert.match(body.failure?.message ?? '', /cluster_bits 22/)
  assert.ok(body.failure?.hint)
})

test('images: update as the official command line does', async () => {
  const { id } = await register()
  const all =
    '{"arch":"i686","description":"x y","username":"root","compatibility_mode":true,"public":true,' +
    '"min_ram":99,"status":"deprecated"}'
  const { status, body } = await call('PUT', `/1.0/images/${id}`, all)
  assert.equal(status, 200)
  const { arch, description, username, compatibility_mode, public: open, min_ram, status: imageStatus } = body
  assert.deepEqual(
    { arch, description, username, compatibility_mode, public: open, min_ram, status: imageStatus },
    JSON.parse(all),
  )
  const cleared = await call('PUT', `/1.0/images/${id}`, {
    name: null,
    description: null,
    status: 'available',
  })
  assert.deepEqual(
    [cleared.body.name, cleared.body.description, cleared.body.status],
    ['', null, 'available'],
  )
})

test('images: lock and unlock are idempotent and have a body; a locked image cannot be destroyed', async () => {
  const { id } = await register()
  for (const [action, locked] of [
    ['lock', true],
    ['lock', true],
    ['unlock', false],
    ['unlock', false],
  ] as const) {
    const { status, body } = await call('PUT', `/1.0/images/${id}/${action}_resource`)
    assert.deepEqual([status, body.locked], [200, locked])
  }
  await call('PUT', `/1.0/images/${id}/lock_resource`)
  const [status, name] = await refused('DELETE', `/1.0/images/${id}`)
  assert.deepEqual([status, name], [409, 'resource_conflict'])
})

test('images: destroy answers 202 with the image, and then it is gone from listings', async () => {
  const { id } = await register()
  const { status, body } = await call('DELETE', `/1.0/images/${id}`)
  assert.deepEqual([status, body.id, body.status], [202, id, 'deleting'])
  // For two seconds it can still be read, as the official command line does.
  assert.equal((await call('GET', `/1.0/images/${id}`)).body.status, 'deleting')
  clockAhead += 3000
  await server.jobs.poll()
  await server.jobs.settled()
  const list = await call<{ id: string }[]>('GET', '/1.0/images')
  assert.ok(!list.body.some((image) => image.id === id))
})

test('images: every broken rule is named with its field', async () => {
  const image = { arch: 'x86_64', http_url: URL_ }
  const cases: [unknown, RegExp][] = [
    [{ http_url: URL_ }, /^arch is required$/],
    [{ ...image, arch: 'arm64' }, /^arch must be one of x86_64, i686$/],
    [{ ...image, min_ram: -1 }, /^min_ram must be >= 0$/],
    [{ ...image, min_ram: 1.5 }, /^min_ram must be an integer or null$/],
    [{ ...image, public: 'yes' }, /^public must be true or false$/],
    [{ ...image, name: 'a\nb' }, /^name must not contain control characters$/],
    [{ ...image, name: 'x'.repeat(256) }, /^name must have at most 255 characters$/],
    [{ ...image, official: true }, /^official is not a field that can be set here$/],
    [{ ...image, checksum: 'md5:0' }, /^checksum must be/],
    [{ ...image, upload: true }, /^http_url /],
    [{ arch: 'x86_64' }, /^http_url /],
    [{ ...image, http_url: 'file:///etc/passwd' }, /^http_url /],
    [{ ...image, http_url: 'nonsense' }, /^http_url /],
    [{ ...image, server: 'srv-12345' }, /^http_url cannot be given with server$/],
    [{ ...image, volume: 'vol-12345' }, /^http_url cannot be given with volume$/],
    [{ arch: 'x86_64', server: 'srv-12345', volume: 'vol-12345' }, /^volume cannot be given with server$/],
    [{ arch: 'x86_64', server: 'srv-12345', checksum: 'sha256:0' }, /^checksum cannot be given with server$/],
    [{ arch: 'x86_64', source: 'old.img' }, /^source: /],
    [undefined, /^the body must be a JSON object$/],
    [[], /^the body must be a JSON object$/],
  ]
  for (const [body, sentence] of cases) {
    const [status, name, ...errors] = await refused('POST', '/1.0/images', body)
    assert.deepEqual([status, name], [422, 'unprocessable_entity'], JSON.stringify(body))
    assert.match(String(errors[0]), sentence)
  }
})

test('images: a Host header that is none is refused before anything is done', async () => {
  const { hostname, port } = new URL(server.url)
  const before = (await call<unknown[]>('GET', '/1.0/images')).body.length
  for (const host of ['a:b', '[', 'a:99999', 'x:1:2', '[::1']) {
    for (const [method, path] of [
      ['GET', '/1.0/images?limit=1'],
      ['POST', '/1.0/images'],
    ] as const) {
      const headers = { host, authorization: `Bearer ${server.token}`, 'content-type': 'application/json' }
      const request = httpRequest({ hostname, port, method, path, headers })
      request.end(method === 'POST' ? JSON.stringify({ arch: 'x86_64', http_url: URL_ }) : undefined)
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      const body = JSON.parse((await response.setEncoding('utf8').toArray()).join(''))
      assert.deepEqual([response.statusCode, body.error_name], [400, 'bad_request'], host)
    }
  }
  assert.equal((await call<unknown[]>('GET', '/1.0/images')).body.length, before)
})

test('images: what the account may not see answers as if it did not exist', async () => {
  const other = await server.addClient()
  const { id } = await register({}, other.call)
  for (const [method, path, body] of [
    ['GET', `/1.0/images/${id}`],
    ['PUT', `/1.0/images/${id}`, { name: 'mine' }],
    ['DELETE', `/1.0/images/${id}`],
    ['PUT', `/1.0/images/${id}/lock_resource`],
    ['GET', `/1.0/images/${id}/download`],
    ['GET', `/1.0/images/${id}/events`],
    ['GET', '/1.0/images/img-zzzzz'],
    ['GET', '/1.0/images/%2e%2e'],
  ] as const) {
    const [status, name] = await refused(method, path, body)
    assert.deepEqual([status, name], [404, 'missing_resource'], `${method} ${path}`)
  }
})

test("images: public ones are everybody's to see and nobody's but the owner's to change", async () => {
  const other = await server.addClient()
  const { id } = await register({ public: true }, other.call)
  const seen = await call('GET', `/1.0/images/${id}`)
  assert.deepEqual([seen.status, seen.body.owner, seen.body.source_info], [200, other.account.id, null])
  const [status, name] = await refused('PUT', `/1.0/images/${id}`, { name: 'mine' })
  assert.deepEqual([status, name], [403, 'forbidden'])
  await other.call('PUT', `/1.0/images/${id}`, { status: 'deprecated' })
  const listed = async (by: Call) =>
    (await by<{ id: string }[]>('GET', '/1.0/images')).body.some((image) => image.id === id)
  assert.deepEqual([await listed(call), await listed(other.call)], [false, true])
  assert.equal((await call('GET', `/1.0/images/${id}`)).body.status, 'deprecated')
})

test('images: pages together are the list, and each names the next', async () => {
  const own = await server.addClient()
  for (let count = 0; count < 5; count++) await register({ name: `n${count}` }, own.call)
  const list = await own.call<{ id: string }[]>('GET', '/1.0/images')
  const seen: string[] = []
  let path: string | undefined = `/1.0/images?limit=2&account_id=${own.account.id}`
  while (path !== undefined) {
    const page: { body: { id: string }[]; headers: Headers } = await own.call<{ id: string }[]>('GET', path)
    assert.ok(page.body.length <= 2)
    seen.push(...page.body.map(({ id }) => id))
    path = /<http:\/\/[^/]+([^>]+)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1]
  }
  assert.deepEqual(
    seen,
    list.body.map(({ id }) => id),
  )
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'limit=1&limit=2', 'after=img-zzzzz']) {
    const [status] = await refused('GET', `/1.0/images?${query}`)
    assert.equal(status, 422, query)
  }
})

test('search: finds own and open images by the beginning of any word, in any case and writing', async () => {
  const own = await server.addClient()
  const other = await server.addClient()
  const find = async (text: string, by = own.call) => {
    const query = new URLSearchParams({ name: text })
    const { body } = await by<{ name: string }[]>('GET', `/1.0/images?${query}`)
    return body.map(({ name }) => name)
  }
  for (const name of [
    'Ubuntu 22.04 server',
    'Caf\u00e9 100% "x" _y \'z\'',
    'a \u{1f600} face',
    'zig zag zig',
    'debian-12-amd64.qcow2',
  ])
    await register({ name }, own.call)
  await register({ name: 'zig, not shown' }, other.call)
  const open = await register({ name: 'Zigzag', public: true }, other.call)
  for (const [text, ...names] of [
    ['22.04 ser', 'Ubuntu 22.04 server'],
    ['UBUNTU  22', 'Ubuntu 22.04 server'],
    ['server ', 'Ubuntu 22.04 server'],
    ['04', ...[]],
    ['buntu', ...[]],
    ['CAFE\u0301', 'Caf\u00e9 100% "x" _y \'z\''],
    ['cafe', ...[]],
    ['100%', 'Caf\u00e9 100% "x" _y \'z\''],
    ['%', ...[]],
    ['_', 'Caf\u00e9 100% "x" _y \'z\''],
    ['"x"', 'Caf\u00e9 100% "x" _y \'z\''],
    ["'z' or 1=1", ...[]],
    ["'z", 'Caf\u00e9 100% "x" _y \'z\''],
    ['\u{1f600}', 'a \u{1f600} face'],
    ['amd64', 'debian-12-amd64.qcow2'],
    ['zig', 'zig zag zig', 'Zigzag'],
    ['zag', 'zig zag zig'],
  ])
    assert.deepEqual(await find(text ?? ''), names, text)
  assert.deepEqual(await find('zig', other.call), ['zig, not shown', 'Zigzag'])
  await other.call('PUT', `/1.0/images/${open.id}`, { name: 'Renamed' })
  assert.deepEqual([await find('zigzag'), await find('ren')], [[], ['Renamed']])
  for (const [change, back] of [
    [{ public: false }, { public: true }],
    [{ status: 'deprecated' }, { status: 'available' }],
  ]) {
    await other.call('PUT', `/1.0/images/${open.id}`, change)
    assert.deepEqual([await find('ren'), await find('ren', other.call)], [[], ['Renamed']])
    await other.call('PUT', `/1.0/images/${open.id}`, back)
    assert.deepEqual(await find('ren'), ['Renamed'])
  }
  await other.call('DELETE', `/1.0/images/${open.id}`)
  assert.deepEqual([await find('ren'), await find('ren', other.call)], [[], ['Renamed']])
  clockAhead += 3000
  await server.jobs.poll()
  await server.jobs.settled()
  assert.deepEqual(await find('ren', other.call), [])
})

test('search: pages together are the answer, also where names are equal; bad values are named', async () => {
  const own = await server.addClient()
  for (const name of ['same', 'Same', 'same again', 'not', 'same same', 'the same', 'SAME', 'same'])
    await register({ name }, own.call)
  const list = await own.call<{ id: string; name: string }[]>('GET', '/1.0/images?name=same')
  assert.equal(list.body.length, 7)
  assert.equal(list.body.at(-1)?.name, 'same again')
  const ids = list.body.map(({ id }) => id)
  for (const limit of [1, 2, 4]) {
    const seen: string[] = []
    let path: string | undefined = `/1.0/images?name=same&limit=${limit}`
    while (path !== undefined) {
      const page: { body: { id: string }[]; headers: Headers } = await own.call<{ id: string }[]>('GET', path)
      assert.ok(page.body.length <= limit)
      seen.push(...page.body.map(({ id }) => id))
      path = /<http:\/\/[^/]+([^>]+)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1]
    }
    assert.deepEqual(seen, ids)
  }
  await own.call('PUT', `/1.0/images/${ids[1]}`, { name: 'other' })
  const expected: [string, RegExp][] = [
    [`after=${ids[1]}&name=same`, /^after must be the id of the last image/],
    ['name=%00', /^name must not hold control characters$/],
    ['name=a%0ab', /^name must not hold control characters$/],
    ['name=%e2%80%ae', /^name must not hold characters that turn/],
    ['name=+%20', /^name must hold more than white space$/],
    [`name=${'x'.repeat(256)}`, /^name must /],
    [`name=${'%ef%b7%ba'.repeat(15)}`, /^name must be at most 255 characters$/],
    ['name=a&name=b', /^name must /],
  ]
  for (const [query, sentence] of expected) {
    const [status, name, ...errors] = await refused('GET', `/1.0/images?${query}`, undefined, own.call)
    assert.deepEqual([status, name], [422, 'unprocessable_entity'], query)
    assert.match(String(errors[0]), sentence)
  }
})

test('access: a 401 is about the token and says so in two ways', async () => {
  for (const authorization of [
    undefined,
    'Bearer ',
    'Bearer unknown',
    'Basic eA==',
    `Bearer ${'0'.repeat(40)}`,
  ]) {
    const response = await fetch(`${url}/1.0/images`, {
      headers: authorization === undefined ? {} : { authorization },
    })
    assert.equal(response.status, 401, String(authorization))
    assert.equal(response.headers.get('www-authenticate'), 'OAuth error="invalid_token"')
    assert.equal(((await response.json()) as { error: string }).error, 'invalid_token')
  }
  const old = await fetch(`${url}/1.0/images`, { headers: { authorization: `OAuth ${server.token}` } })
  assert.equal(old.status, 200)
})

test('access: an account of somebody else answers as if it did not exist', async () => {
  const other = await server.addClient()
  const [status, name] = await refused('GET', `/1.0/images?account_id=${other.account.id}`)
  assert.deepEqual([status, name], [404, 'missing_resource'])
})

test('access: whoever has no token is told so before the body is looked at', async () => {
  const response = await fetch(`${url}/1.0/images`, {
    method: 'POST',
    body: '{"',
    headers: { 'content-type': 'application/json' },
  })
  assert.equal(response.status, 401)
})

test('images: a refusal says what the matter is, and an empty id is not taken for one', async () => {
  const { body } = await call('POST', '/1.0/images', { arch: 'x86_64', http_url: 'http://h/d', public: true })
  await server.jobs.poll()
  await server.jobs.settled()
  const other = await server.addClient()
  type Answer = { errors: string[] }
  const errors = async (method: string, path: string, as = call) =>
    (await as<Answer>(method, path)).body.errors
  const path = `/1.0/images/${body.id}`
  for (const [method, tail] of [
    ['DELETE', ''],
    ['GET', '/events'],
    ['PUT', '/lock_resource'],
  ] as const)
    assert.deepEqual(await errors(method, path + tail, other.call), [
      `image ${body.id} belongs to another account`,
    ])
  await call('PUT', `${path}/lock_resource`)
  assert.deepEqual(await errors('DELETE', path), [`image ${body.id} is locked`])
  assert.deepEqual(await errors('GET', '/1.0/images/'), ['the id of an image is missing'])
})

test('root: it names the service and where its description is', async () => {
  const { status, body } = await call<Record<string, string>>('GET', '/')
  assert.deepEqual(
    [status, body.name, body.version, body.openapi],
    [200, 'image-library', '0.0.0', '/openapi.json'],
  )
})
