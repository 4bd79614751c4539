import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask, account } = fixture
const md5 = (bytes: string | Uint8Array) => createHash('md5').update(bytes).digest('hex')

test('object: an announced ETag may stand in quotes or not', async () => {
  for (const etag of [md5('hello'), `"${md5('hello')}"`]) {
    assert.equal((await ask('PUT', '/c/announced', { headers: { ETag: etag }, body: 'hello' })).status, 201)
  }
})

test('object: what was put is what comes back, with its headers', async () => {
  const headers = {
    'Content-Type': 'text/x-note; charset=utf-8',
    'Content-Encoding': 'br',
    'Content-Disposition': 'attachment',
    'Content-Language': 'cy',
    'Cache-Control': 'no-store',
    Expires: 'Thu, 01 Dec 2033 16:00:00 GMT',
    'X-Robots-Tag': 'none',
    'X-Object-Meta-Two-Words': 'value',
    'X-Object-Meta-Empty': '',
    'X-Object-Sysmeta-Own': 'dropped',
    'X-Backend-Own': 'dropped',
    'X-Timestamp': '1.00000',
    'X-Unknown': 'dropped',
  }
  const put = await ask('PUT', '/c/note', { headers, body: 'hello' })
  assert.deepEqual([put.status, put.headers.etag, put.text], [201, md5('hello'), ''])
  assert.equal(put.headers['content-type'], 'text/html; charset=UTF-8')
  const got = await ask('GET', '/c/note')
  assert.deepEqual([got.status, got.text, got.headers.etag], [200, 'hello', md5('hello')])
  for (const name of ['Content-Type', 'Content-Encoding', 'Content-Disposition', 'Content-Language']) {
    assert.equal(got.headers[name.toLowerCase()], headers[name as keyof typeof headers])
  }
  assert.equal(got.headers.expires, headers.Expires)
  assert.equal(got.headers['x-robots-tag'], 'none')
  assert.ok(got.rawHeaders.includes('X-Object-Meta-Two-Words'))
  assert.equal(got.headers['x-object-meta-empty'], '')
  assert.match(String(got.headers['x-timestamp']), /^\d{10}\.\d{5}$/)
  assert.notEqual(got.headers['x-timestamp'], '1.00000')
  const second = Math.ceil(Number(got.headers['x-timestamp']))
  assert.equal(got.headers['last-modified'], new Date(second * 1000).toUTCString())
  for (const name of ['x-object-sysmeta-own', 'x-backend-own', 'x-unknown']) {
    assert.equal(got.headers[name], undefined)
  }
  const head = await ask('HEAD', '/c/note', { headers: { Range: 'bytes=0-1' } })
  assert.deepEqual([head.status, head.headers['content-length'], head.text], [200, '5', ''])
})

test('object: every answer has a transaction id, and its extra part', async () => {
  const answer = await ask('GET', '/c/none', { headers: { 'X-Trans-Id-Extra': 'x'.repeat(40) } })
  assert.match(String(answer.headers['x-trans-id']), /^tx[\da-f]{21}-[\da-f]{10}-x{32}$/)
  assert.equal(answer.headers['x-openstack-request-id'], answer.headers['x-trans-id'])
  assert.ok(answer.headers.date)
})

test('object: large ones are streamed, small ones and empty ones too', async () => {
  for (const size of [0, 1, 16 * 1024, 16 * 1024 + 1, 1024 * 1024, 3_500_000]) {
    const body = randomBytes(size)
    assert.equal((await ask('PUT', '/c/sized', { body })).headers.etag, md5(body))
    const got = await ask('GET', '/c/sized')
    assert.equal(got.headers['content-length'], String(size))
    assert.ok(got.bytes.equals(body), `${size} bytes`)
  }
})

test('object: names are taken as they are', async () => {
  const names = [
    '/c//double',
    '/c/a//b',
    '/c/../up',
    '/c/./dot',
    '/c/end/',
    '/c/%2Fenc',
    '/c/%25',
    '/c/%C3%A9',
    '/c/a+b',
  ]
  for (const path of names) {
    assert.equal((await ask('PUT', path, { body: path })).status, 201, path)
    assert.equal((await ask('GET', path)).text, path)
  }
  assert.equal((await ask('PUT', '/c%2Finside', { body: 'x' })).status, 201)
  assert.equal((await ask('GET', '/c/inside')).text, 'x')
  const listed = JSON.parse((await ask('GET', '/c?format=json&prefix=/')).text) as { name: string }[]
  // Both spellings are one object.
  assert.deepEqual(
    listed.map(({ name }) => name),
    ['/double', '/enc'],
  )
})

test('object: what is no name is refused before anything else', async () => {
  const cases = [
    ['GET', '/c/%ff', 412, 'Invalid UTF8 or contains NULL'],
    ['PUT', '/c/a%00b', 412, 'Invalid UTF8 or contains NULL'],
    ['GET', '//o', 412, 'Bad URL'],
    ['GET', `!/v1`, 412, 'Bad URL'],
    ['GET', `!/v1//c/o`, 412, 'Bad URL'],
    ['GET', '/c?prefix=%ff', 400, '"prefix" parameter not valid UTF-8'],
    ['PUT', `/c/${'x'.repeat(1025)}`, 400, 'Object name length of 1025 longer than 1024'],
  ] as const
  for (const [method, path, status, text] of cases) {
    const answer = await ask(method, path)
    assert.deepEqual([answer.status, answer.text], [status, text], path)
    assert.ok(answer.headers['x-trans-id'])
  }
  assert.equal((await ask('GET', `!/v2/${account}/c`)).status, 400)
})

test('object: what a PUT lacks or contradicts is refused, and nothing is stored', async () => {
  const body = 'new'
  await ask('PUT', '/c/kept', { body: 'old' })
  const cases: [Record<string, string>, number, string][] = [
    [{ ETag: md5('other') }, 422, 'page'],
    [{ ETag: 'garbage' }, 422, 'page'],
    [{ ETag: md5(body).toUpperCase() }, 422, 'page'],
    [{ 'If-None-Match': '*' }, 412, 'page'],
    [{ 'If-None-Match': 'abc' }, 400, 'If-None-Match only supports *'],
    [
      { 'Content-Type': 'a/b; swift_bytes=1' },
      400,
      'Invalid Content-Type, swift_* is not a valid parameter name.',
    ],
    [{ 'X-Delete-At': 'soon' }, 400, 'Non-integer X-Delete-At'],
    [{ 'X-Delete-At': '1' }, 400, 'X-Delete-At in past'],
    [{ 'X-Delete-After': '' }, 400, 'Non-integer X-Delete-After'],
    [{ 'X-Delete-After': '0' }, 400, 'X-Delete-After in past'],
    [{ 'X-Object-Manifest': 'no-slash' }, 400, 'X-Object-Manifest must be in the format container/prefix'],
    [{ 'X-Object-Meta-': 'x' }, 400, 'Metadata name cannot be empty'],
    [{ 'X-Object-Meta-A': 'x'.repeat(257) }, 400, 'Metadata value longer than 256: x-object-meta-a'],
    [{ 'X-Object-Meta-A': 'x'.repeat(8193) }, 400, 'Header value too long: x-object-meta-a'],
    [
      { [`X-Object-Meta-${'a'.repeat(129)}`]: 'x' },
      400,
      `Metadata name too long: x-object-meta-${'a'.repeat(129)}`,
    ],
    [
      Object.fromEntries(Array.from({ length: 91 }, (_, index) => [`X-Object-Meta-${index}`, 'x'])),
      400,
      'Too many metadata items; max 90',
    ],
    [
      Object.fromEntries(
        Array.from({ length: 17 }, (_, index) => [`X-Object-Meta-${index}`, 'x'.repeat(250)]),
      ),
      400,
      'Total metadata too large; max 4096',
    ],
    [{ 'Content-Length': '5368709123' }, 413, 'Your request is too large.'],
  ]
  for (const [headers, status, text] of cases) {
    const answer = await ask('PUT', '/c/kept', { headers, body })
    assert.equal(answer.status, status, `${JSON.stringify(headers)} ${answer.text}`)
    if (text === 'page') assert.match(answer.text, /^<html><h1>/)
    else assert.deepEqual([answer.text, answer.headers['content-type']], [text, 'text/plain; charset=UTF-8'])
  }
  assert.equal((await ask('GET', '/c/kept')).text, 'old')
  const refused = await ask('PUT', '/c/kept', { headers: { 'X-Static-Large-Object': 'True' }, body })
  assert.equal(refused.status, 400)
  assert.equal((await ask('PUT', '/none/x', { body })).status, 404)
})

test('object: POST replaces what it names and what it does not', async () => {
  const headers = {
    'Content-Type': 'a/b',
    'X-Object-Meta-Old': '1',
    'Content-Encoding': 'gzip',
    'X-Delete-After': '600',
  }
  await ask('PUT', '/c/posted', { headers, body: 'x' })
  assert.match(String((await ask('HEAD', '/c/posted')).headers['x-delete-at']), /^\d{10}$/)
  const posted = await ask('POST', '/c/posted', { headers: { 'X-Object-Meta-New': '2' } })
  assert.deepEqual(
    [posted.status, posted.text],
    [202, '<html><h1>Accepted</h1><p>The request is accepted for processing.</p></html>'],
  )
  const head = await ask('HEAD', '/c/posted')
  assert.equal(head.headers['x-object-meta-new'], '2')
  assert.equal(head.headers['content-type'], 'a/b')
  for (const name of ['x-object-meta-old', 'content-encoding', 'x-delete-at']) {
    assert.equal(head.headers[name], undefined, name)
  }
  assert.equal((await ask('POST', '/c/none')).status, 404)
})

test('object: repeated headers are joined with a comma, and bytes beyond ASCII stay', async () => {
  const headers = { 'X-Object-Meta-A': ['a', 'b'], 'X-Object-Meta-B': '\xc3\xa9\xff' }
  await ask('PUT', '/c/joined', { headers, body: '' })
  const head = await ask('HEAD', '/c/joined')
  assert.deepEqual(
    [head.headers['x-object-meta-a'], head.headers['x-object-meta-b']],
    ['a,b', '\xc3\xa9\xff'],
  )
})

test('object: DELETE, and what is not there', async () => {
  await ask('PUT', '/c/gone', { body: 'x' })
  const deleted = await ask('DELETE', '/c/gone', { headers: { 'If-Match': '"nonsense"' } })
  assert.deepEqual([deleted.status, deleted.headers['content-length']], [204, '0'])
  for (const method of ['GET', 'DELETE', 'POST', 'HEAD'] as const) {
    const answer = await ask(method, '/c/gone')
    assert.equal(answer.status, 404)
    const page = '<html><h1>Not Found</h1><p>The resource could not be found.</p></html>'
    assert.equal(answer.text, method === 'HEAD' ? '' : page)
  }
})

test('object: conditions, in Swift’s order', async () => {
  await ask('PUT', '/c/cond', { body: 'hello world' })
  const { headers: head } = await ask('HEAD', '/c/cond')
  const etag = String(head.etag)
  const date = String(head['last-modified'])
  const before = new Date(Date.parse(date) - 1000).toUTCString()
  const cases: [Record<string, string>, number][] = [
    [{ 'If-None-Match': etag }, 304],
    [{ 'If-None-Match': `"x", "${etag}"` }, 304],
    [{ 'If-None-Match': '*' }, 304],
    [{ 'If-None-Match': '"x"' }, 200],
    [{ 'If-Match': '"x"' }, 412],
    [{ 'If-Match': `"${etag}"` }, 200],
    [{ 'If-None-Match': etag, 'If-Match': '"x"' }, 304],
    [{ 'If-Modified-Since': date }, 304],
    [{ 'If-Modified-Since': before }, 200],
    [{ 'If-Modified-Since': 'nonsense' }, 200],
    [{ 'If-Unmodified-Since': date }, 200],
    [{ 'If-Unmodified-Since': before }, 412],
    [{ 'If-None-Match': etag, Range: 'bytes=0-1' }, 304],
    [{ 'If-Range': '"x"', Range: 'bytes=0-1' }, 206],
  ]
  for (const [headers, status] of cases) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(method, '/c/cond', { headers })
      const expected = method === 'HEAD' && status === 206 ? 200 : status
      assert.equal(answer.status, expected, `${method} ${JSON.stringify(headers)}`)
      if (status === 304 || status === 412) {
        assert.deepEqual([answer.headers['content-length'], answer.headers.etag], ['0', etag])
      }
    }
  }
  assert.equal((await ask('GET', '/c/none', { headers: { 'If-Match': '*' } })).status, 412)
  assert.equal((await ask('GET', '/c/none', { headers: { 'If-None-Match': '*' } })).status, 404)
})

test('object: ranges, one or several, and none', async () => {
  await ask('PUT', '/c/range', { body: 'hello world', headers: { 'Content-Type': 'a/b' } })
  const get = (range: string, path = '/c/range') => ask('GET', path, { headers: { Range: range } })
  const one = await get('bytes=0-4')
  assert.deepEqual([one.status, one.text, one.headers['content-range']], [206, 'hello', 'bytes 0-4/11'])
  assert.equal((await get('bytes=-5')).text, 'world')
  assert.equal((await get('bytes=6-,99-')).headers['content-range'], 'bytes 6-10/11')
  for (const range of ['items=0-1', 'bytes=5-1', 'bytes=x', 'bytes=-', 'bytes']) {
    assert.equal((await get(range)).status, 200, range)
  }
  const many = await get('bytes=6-10,0-4')
  const boundary = /^multipart\/byteranges;boundary=([\da-f]{32})$/.exec(
    String(many.headers['content-type']),
  )?.[1]
  const part = (range: string, text: string) =>
    `--${boundary}\r\nContent-Type: a/b\r\nContent-Range: bytes ${range}/11\r\n\r\n${text}\r\n`
  assert.equal(many.text, `${part('6-10', 'world')}${part('0-4', 'hello')}--${boundary}--`)
  assert.equal(many.headers['content-length'], String(many.bytes.length))
  const past = await get('bytes=11-')
  assert.deepEqual([past.status, past.headers['content-range'], past.bytes.length], [416, 'bytes */11', 97])
  assert.equal(past.headers.etag, md5('hello world'))
  for (const range of [
    `bytes=${'0-0,'.repeat(50)}1-1`,
    'bytes=0-9,1-9,2-9',
    'bytes=8-8,7-7,6-6,5-5,4-4,3-3,2-2,1-1',
  ]) {
    assert.equal((await get(range)).status, 416, range)
  }
  await ask('PUT', '/c/empty', { body: '' })
  assert.equal((await get('bytes=-5', '/c/empty')).status, 200)
  assert.equal((await get('bytes=0-', '/c/empty')).status, 416)
})

test('object: ranges of a large one', async () => {
  const body = randomBytes(3_000_000)
  await ask('PUT', '/c/large', { body })
  const got = await ask('GET', '/c/large', { headers: { Range: 'bytes=1000000-2500000' } })
  assert.ok(got.bytes.equals(body.subarray(1_000_000, 2_500_001)))
  const many = await ask('GET', '/c/large', { headers: { Range: 'bytes=0-9,2999990-' } })
  assert.equal(many.bytes.length, Number(many.headers['content-length']))
  assert.ok(many.bytes.includes(body.subarray(0, 10)) && many.bytes.includes(body.subarray(2_999_990)))
})

test('object: 405 comes before anything else, and OPTIONS needs nobody', async () => {
  const patched = await ask('PATCH', '/c/x', { token: null })
  assert.deepEqual(
    [patched.status, patched.headers.allow],
    [405, 'OPTIONS, GET, DELETE, HEAD, PUT, POST, COPY'],
  )
  const options = await ask('OPTIONS', '/c', { token: null })
  assert.deepEqual([options.status, options.headers.allow], [200, 'POST, HEAD, PUT, OPTIONS, DELETE, GET'])
  assert.equal((await ask('COPY', '/c')).status, 405)
})
