import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask } = fixture
const md5 = (text: string) => createHash('md5').update(text).digest('hex')
const JSON_TYPE = { Accept: 'application/json' }

await ask('PUT', '/segments')
for (const [name, body] of [
  ['a', 'hello'],
  ['b', ' '],
  ['c', 'world'],
] as const) {
  await ask('PUT', `/segments/x/${name}`, { body, headers: { 'Content-Type': 'text/plain' } })
}

const putStatic = (path: string, entries: unknown, headers: Record<string, string> = {}, query = '') =>
  ask('PUT', `${path}?multipart-manifest=put${query}`, { headers, body: JSON.stringify(entries) })

test('dynamic large object: reads as its segments do, one behind the other', async () => {
  const manifest = { 'X-Object-Manifest': 'segments/x%2F', 'Content-Type': 'text/plain' }
  const put = await ask('PUT', '/c/dynamic', { headers: manifest, body: '' })
  assert.deepEqual([put.status, put.headers.etag], [201, md5('')])
  const got = await ask('GET', '/c/dynamic')
  assert.equal(got.text, 'hello world')
  assert.equal(got.headers.etag, `"${md5(md5('hello') + md5(' ') + md5('world'))}"`)
  assert.equal(got.headers['x-object-manifest'], 'segments/x%2F')
  assert.equal((await ask('GET', '/c/dynamic', { headers: { Range: 'bytes=4-6' } })).text, 'o w')
  const whole = await ask('GET', '/c/dynamic', { headers: { Range: 'bytes=0-1,4-5' } })
  assert.deepEqual([whole.status, whole.text], [200, 'hello world'])
  const itself = await ask('GET', '/c/dynamic?multipart-manifest=get')
  assert.deepEqual([itself.text, itself.headers.etag], ['', md5('')])
})

test('static large object: made, read, shown, made again from what was shown', async () => {
  const entries = [
    { path: '/segments/x/a', etag: md5('hello'), size_bytes: 5 },
    { path: 'segments/x/b', etag: null, size_bytes: null },
    { path: '/segments/x/c', range: '0-2' },
    { data: Buffer.from('!').toString('base64') },
  ]
  const etag = `"${md5(`${md5('hello')}${md5(' ')}${md5('world')}:0-2;${md5('!')}`)}"`
  const put = await putStatic('/c/static', entries, { 'Content-Type': 'text/plain' })
  assert.deepEqual([put.status, put.headers.etag], [201, etag])
  const got = await ask('GET', '/c/static')
  assert.deepEqual([got.text, got.headers.etag], ['hello wor!', etag])
  assert.equal(got.headers['x-static-large-object'], 'True')
  assert.equal((await ask('HEAD', '/c/static')).headers['content-length'], '10')
  const many = await ask('GET', '/c/static', { headers: { Range: 'bytes=0-0,-1' } })
  assert.match(many.text, /\r\nh\r\n--.*\r\n!\r\n--/s)

  const shown = await ask('GET', '/c/static?multipart-manifest=get')
  assert.equal(shown.headers['content-type'], 'application/json; charset=utf-8')
  const rows = JSON.parse(shown.text)
  assert.deepEqual(
    rows.map(({ last_modified: _, ...row }: Record<string, unknown>) => row),
    [
      { name: '/segments/x/a', bytes: 5, hash: md5('hello'), content_type: 'text/plain' },
      { name: '/segments/x/b', bytes: 1, hash: md5(' '), content_type: 'text/plain' },
      { name: '/segments/x/c', bytes: 5, hash: md5('world'), content_type: 'text/plain', range: '0-2' },
      { data: 'IQ==' },
    ],
  )
  assert.equal(shown.headers.etag, got.headers['x-manifest-etag'])
  const head = await ask('HEAD', '/c/static?multipart-manifest=get')
  assert.deepEqual([head.headers['content-length'], head.text], [String(shown.bytes.length), ''])
  const raw = await ask('GET', '/c/static?multipart-manifest=get&format=raw')
  assert.equal((await putStatic('/c/again', JSON.parse(raw.text))).headers.etag, etag)
  const listed = JSON.parse((await ask('GET', '/c?format=json&prefix=static')).text)
  assert.deepEqual([listed[0].bytes, listed[0].slo_etag, listed[0].hash], [10, etag, shown.headers.etag])
})

test('static large object: what cannot be read is refused, entry by entry', async () => {
  const bad = (text: string) => `Index 0: ${text}\n`
  const segment = { path: '/segments/x/a' }
  const cases: [unknown, number, string][] = [
    ['x', 400, 'Manifest must be a list.\n'],
    [[1], 400, bad('not a JSON object')],
    [[{ ...segment, foo: 1, bar: 2 }], 400, bad('extraneous keys "bar", "foo"')],
    [
      [{ path: 'x' }],
      400,
      bad('path does not refer to an object. Path must be of the form /container/object.'),
    ],
    [[{ path: 7 }], 400, bad('"path" must be a string')],
    [[{ ...segment, size_bytes: 'x' }], 400, bad('invalid size_bytes')],
    [[{ ...segment, range: '5-1' }], 400, bad('invalid range')],
    [[{ ...segment, range: '0-1,3-4' }], 400, bad('multiple ranges (only one allowed)')],
    [[{ path: '/c/self' }], 400, bad('manifest must not include itself as a segment')],
    [[{ data: '***' }, segment], 400, bad('data must be valid base64')],
    [[{ data: 'IQ==' }], 400, 'Inline data segments require at least one object-backed segment.\n'],
    [Array.from({ length: 1001 }, () => segment), 413, 'Number of object-backed segments must be <= 1000'],
  ]
  for (const [entries, status, text] of cases) {
    const answer = await putStatic('/c/self', entries)
    assert.deepEqual([answer.status, answer.text], [status, text])
  }
  const broken = await ask('PUT', '/c/self?multipart-manifest=put', { body: '[{' })
  assert.deepEqual([broken.status, broken.text], [400, 'Manifest must be valid JSON.\n'])
  const huge = await ask('PUT', '/c/self?multipart-manifest=put', { body: Buffer.alloc(8 * 1024 * 1024 + 1) })
  assert.deepEqual([huge.status, huge.text], [413, 'Manifest File > 8388608 bytes'])
  assert.equal((await putStatic('/c/self', [segment], { ETag: md5('other') })).status, 422)
  assert.equal((await ask('HEAD', '/c/self')).status, 404)
})

test('static large object: segments that are not as they should be are listed', async () => {
  const entries = [
    { path: '/segments/none' },
    { path: '/segments/x/a', size_bytes: 6, etag: md5('x') },
    { path: '/segments/x/b' },
  ]
  const text = await putStatic('/c/problems', entries)
  assert.deepEqual(
    [text.status, text.text],
    [
      400,
      'Errors:\n/segments/none, 404 Not Found\n/segments/x/a, Size Mismatch\n/segments/x/a, Etag Mismatch\n',
    ],
  )
  const json = await putStatic('/c/problems', entries, JSON_TYPE)
  assert.deepEqual(JSON.parse(json.text).Errors[0], ['/segments/none', '404 Not Found'])
})

test('static large object: may be made only where nothing is', async () => {
  const entries = [{ path: '/segments/x/a' }]
  const put = async (value: string) =>
    (await putStatic('/c/once', entries, { 'If-None-Match': value })).status
  assert.deepEqual([await put('"x"'), await put('*'), await put('*')], [400, 201, 412])
})

test('static large object: a client that asked for signs of life gets the outcome in the body', async () => {
  const good = await putStatic('/c/alive', [{ path: '/segments/x/a' }], JSON_TYPE, '&heartbeat=on')
  assert.equal(good.status, 202)
  assert.match(good.text, /^ +\r\n\r\n\{/)
  const { Etag, ...rest } = JSON.parse(good.text)
  assert.deepEqual(
    [Etag, rest['Response Status'], rest.Errors],
    [`"${md5(md5('hello'))}"`, '201 Created', []],
  )
  const bad = await putStatic('/c/alive', [{ path: '/segments/none' }], {}, '&heartbeat=on')
  assert.equal(bad.status, 202)
  assert.match(bad.text, /\r\n\r\nResponse Body: Bad Request\nThe server could not comply/)
  assert.match(bad.text, /\nResponse Status: 400 Bad Request\nErrors:\n\/segments\/none, 404 Not Found\n$/)
})

test('static large object: a segment that is gone is a conflict', async () => {
  await ask('PUT', '/segments/gone', { body: 'gone' })
  await putStatic('/c/holed', [{ path: '/segments/gone' }, { path: '/segments/x/a' }])
  await putStatic('/c/later', [{ path: '/segments/x/a' }, { path: '/segments/gone' }])
  await ask('DELETE', '/segments/gone')
  assert.equal((await ask('GET', '/c/holed')).status, 409)
  await assert.rejects(ask('GET', '/c/later'))
  assert.equal((await ask('GET', '/c/later', { headers: { Range: 'bytes=0-4' } })).text, 'hello')
})

test('static large object: DELETE takes its segments along', async () => {
  await ask('PUT', '/segments/y', { body: 'y' })
  await putStatic('/c/removed', [{ path: '/segments/y' }])
  const answer = await ask('DELETE', '/c/removed?multipart-manifest=delete', { headers: JSON_TYPE })
  assert.equal(answer.status, 200)
  assert.deepEqual(JSON.parse(answer.text), {
    'Number Deleted': 2,
    'Number Not Found': 0,
    'Response Status': '200 OK',
    'Response Body': '',
    Errors: [],
  })
  assert.equal((await ask('HEAD', '/segments/y')).status, 404)
  const missing = await ask('DELETE', '/c/removed?multipart-manifest=delete')
  assert.match(missing.text, /^Number Deleted: 0\nNumber Not Found: 1\n/)
  await ask('PUT', '/c/plain', { body: 'x' })
  const plain = await ask('DELETE', '/c/plain?multipart-manifest=delete')
  assert.match(plain.text, /Response Status: 400 Bad Request\nErrors:\n\/c\/plain, Not an SLO manifest\n$/)
})

test('copy: of an object, with its headers or others', async () => {
  const headers = { 'Content-Type': 'a/b', 'X-Object-Meta-A': '1', 'X-Object-Meta-B': '2' }
  await ask('PUT', '/c/source', { headers, body: 'hello' })
  const copied = await ask('COPY', '/c/source', {
    headers: { Destination: 'c/t%C3%A9', 'X-Object-Meta-B': '3' },
  })
  assert.deepEqual([copied.status, copied.headers.etag], [201, md5('hello')])
  assert.equal(copied.headers['x-copied-from'], 'c/source')
  assert.equal(copied.headers['x-copied-from-account'], fixture.account)
  assert.ok(copied.headers['x-copied-from-last-modified'])
  assert.deepEqual([copied.headers['x-object-meta-a'], copied.headers['x-object-meta-b']], ['1', '3'])
  const target = await ask('GET', '/c/t%C3%A9')
  assert.deepEqual([target.text, target.headers['content-type']], ['hello', 'a/b'])

  const fresh = { 'X-Copy-From': '/c/source', 'X-Fresh-Metadata': 'true', 'Content-Length': '0' }
  const put = await ask('PUT', '/c/fresh', { headers: fresh })
  assert.equal(put.status, 201)
  const made = await ask('HEAD', '/c/fresh')
  assert.deepEqual([made.headers['x-object-meta-a'], made.headers['content-type']], [undefined, 'a/b'])
  const part = { 'X-Copy-From': 'c/source', 'Content-Length': '0', Range: 'bytes=1-2' }
  await ask('PUT', '/c/part', { headers: part })
  assert.equal((await ask('GET', '/c/part')).text, 'el')
})

test('copy: what cannot be is refused', async () => {
  await ask('PUT', '/c/source', { body: 'hello' })
  const form = (header: string) => `${header} header must be of the form <container name>/<object name>`
  const zero = { 'Content-Length': '0' }
  const cases: [string, string, Record<string, string>, number, string?][] = [
    ['COPY', '/c/source', {}, 412, 'Destination header required'],
    ['COPY', '/c/source', { Destination: 'c' }, 412, form('Destination')],
    ['COPY', '/c/source', { Destination: '/c/' }, 412, form('Destination')],
    ['COPY', '/c/source', { Destination: 'c/%ff' }, 412, form('Destination')],
    ['PUT', '/c/t', { 'X-Copy-From': 'c', ...zero }, 412, form('X-Copy-From')],
    ['PUT', '/c/t', { 'X-Copy-From': '', ...zero }, 412, form('X-Copy-From')],
    ['COPY', '/c/none', { Destination: 'c/t' }, 404],
    ['COPY', '/c/source', { Destination: 'none/t' }, 404],
    ['COPY', '/c/source', { Destination: 'c/t', 'If-None-Match': '*' }, 304],
    ['COPY', '/c/source', { Destination: 'c/t', 'If-Match': '"x"' }, 412],
    ['COPY', '/c/source', { Destination: 'c/t', Range: 'bytes=9-' }, 416],
    ['COPY', '/c/source', { Destination: 'c/t', 'Destination-Account': 'acc-zzzzz' }, 403],
    ['COPY', '/c/source', { Destination: 'c/t', 'Destination-Account': 'a/b' }, 412],
  ]
  for (const [method, path, headers, status, text] of cases) {
    const answer = await ask(method, path, { headers })
    assert.equal(answer.status, status, JSON.stringify(headers))
    if (text !== undefined) assert.equal(answer.text, text)
  }
  const full = await ask('PUT', '/c/t', { headers: { 'X-Copy-From': 'c/source' }, body: 'x' })
  assert.deepEqual([full.status, full.text], [400, 'Copy requests require a zero byte body'])
  assert.equal((await ask('HEAD', '/c/t')).status, 404)
})

test('copy: of large objects, what they stand for or they themselves', async () => {
  await putStatic('/c/slo', [{ path: '/segments/x/a' }, { path: '/segments/x/c' }])
  await ask('COPY', '/c/slo', { headers: { Destination: 'c/whole' } })
  const whole = await ask('GET', '/c/whole')
  assert.deepEqual([whole.text, whole.headers['x-static-large-object']], ['helloworld', undefined])
  assert.equal(whole.headers.etag, md5('helloworld'))
  await ask('COPY', '/c/slo?multipart-manifest=get', { headers: { Destination: 'c/same' } })
  const same = await ask('GET', '/c/same')
  assert.deepEqual([same.text, same.headers['x-static-large-object']], ['helloworld', 'True'])
})
