import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'
import { bestType } from './listing.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask, account } = fixture

test('account: counts, metadata and what may not be done', async () => {
  const set = await ask('POST', '', {
    headers: { 'X-Account-Meta-Colour': 'red', 'X-Account-Meta-Size': 'l' },
  })
  assert.deepEqual([set.status, set.headers['content-type']], [204, 'text/html; charset=UTF-8'])
  await ask('POST', '', { headers: { 'X-Remove-Account-Meta-Size': 'x' } })
  for (const path of ['', '/', '//']) {
    const head = await ask('HEAD', path)
    assert.equal(head.status, 204)
    assert.equal(head.headers['x-account-container-count'], '2')
    assert.equal(head.headers['x-account-storage-policy-policy-0-container-count'], '2')
    assert.equal(head.headers['x-account-meta-colour'], 'red')
    assert.equal(head.headers['x-account-meta-size'], undefined)
    assert.equal(head.headers['content-type'], 'text/plain; charset=utf-8')
    assert.equal(head.headers.vary, 'Accept')
  }
  for (const method of ['PUT', 'DELETE']) {
    const refused = await ask(method, '', { token: null })
    assert.deepEqual([refused.status, refused.headers.allow], [405, 'OPTIONS, GET, HEAD, POST'])
  }
  const bad = await ask('POST', '', { headers: { 'X-Account-Meta-A': '\xff' } })
  assert.deepEqual([bad.status, bad.text], [400, 'Metadata must be valid UTF-8'])
})

test('container: made, changed, shown and removed', async () => {
  assert.equal((await ask('PUT', '/made', { headers: { 'X-Container-Meta-A': '1' } })).status, 201)
  assert.equal((await ask('PUT', '/made', { headers: { 'X-Container-Meta-B': '2' } })).status, 202)
  const change = {
    'X-Container-Meta-A': '',
    'X-Container-Read': ' .r:* , .rlistings',
    'X-Container-Meta-C': '',
  }
  assert.equal((await ask('POST', '/made', { headers: change })).status, 204)
  const { status, headers } = await ask('HEAD', '/made')
  assert.equal(status, 204)
  assert.deepEqual(
    [headers['x-container-meta-a'], headers['x-container-meta-b'], headers['x-container-meta-c']],
    [undefined, '2', undefined],
  )
  assert.equal(headers['x-container-read'], '.r:*,.rlistings')
  assert.equal(headers['x-storage-policy'], 'Policy-0')
  assert.equal(headers['x-container-object-count'], '0')
  assert.equal((await ask('HEAD', '/made', { token: null })).headers['x-container-read'], undefined)
  await ask('POST', '/made', { headers: { 'X-Remove-Container-Read': 'x' } })
  assert.equal((await ask('HEAD', '/made', { token: null })).status, 401)
  await ask('PUT', '/made/o', { body: '' })
  assert.equal((await ask('DELETE', '/made')).status, 409)
  await ask('DELETE', '/made/o')
  assert.equal((await ask('DELETE', '/made')).status, 204)
  for (const method of ['GET', 'HEAD', 'POST', 'DELETE'])
    assert.equal((await ask(method, '/made')).status, 404)
})

test('container: what cannot be is refused', async () => {
  const cases: [string, Record<string, string>, number, string][] = [
    [`/${'n'.repeat(257)}`, {}, 400, 'Container name length of 257 longer than 256'],
    ['/p', { 'X-Storage-Policy': 'bogus' }, 400, "Invalid X-Storage-Policy 'bogus'"],
    ['/p', { 'X-Container-Write': '.r:*' }, 400, "Referrers not allowed in write ACL: '.r:*'"],
    ['/p', { 'X-Container-Meta-Quota-Bytes': 'x' }, 400, 'Invalid bytes quota.'],
    [
      '/p',
      { 'X-Versions-Location': 'a', 'X-History-Location': 'b' },
      400,
      'Only one of X-History-Location or X-Versions-Location may be specified',
    ],
    ['/p', { 'X-Versions-Location': 'a/b' }, 412, 'X-Versions-Location must be a container name'],
  ]
  for (const [path, headers, status, text] of cases) {
    const answer = await ask('PUT', path, { headers })
    assert.deepEqual([answer.status, answer.text], [status, text])
  }
  assert.equal((await ask('PUT', '/p', { headers: { 'X-Storage-Policy': 'policy-0' } })).status, 201)
  assert.equal((await ask('POST', '/p', { headers: { 'X-Versions-Location': 'a%20b' } })).status, 204)
  assert.equal((await ask('HEAD', '/p')).headers['x-versions-location'], 'a%20b')
  await ask('POST', '/p', { headers: { 'X-Remove-Versions-Location': 'x' } })
  assert.equal((await ask('HEAD', '/p')).headers['x-versions-location'], undefined)
})

test('listing: plain, JSON and XML', async () => {
  await ask('PUT', '/list')
  const plain = await ask('GET', '/list')
  assert.deepEqual([plain.status, plain.text], [204, ''])
  assert.equal((await ask('GET', '/list?format=json')).text, '[]')
  assert.equal(
    (await ask('GET', '/list?format=xml')).text,
    '<?xml version="1.0" encoding="UTF-8"?>\n<container name="list" />',
  )
  await ask('PUT', '/list/a%22%3C%26', { body: 'hello', headers: { 'Content-Type': 'x/\xc3\xa9' } })
  await ask('PUT', '/list/b/c', { body: '' })
  assert.equal((await ask('GET', '/list')).text, 'a"<&\nb/c\n')
  const json = await ask('GET', '/list?format=json&delimiter=/')
  const [row, subdir] = JSON.parse(json.text)
  const { last_modified: date, ...rest } = row
  assert.deepEqual(rest, {
    name: 'a"<&',
    hash: '5d41402abc4b2a76b9719d911017c592',
    bytes: 5,
    content_type: 'x/é',
  })
  assert.match(date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
  assert.deepEqual(subdir, { subdir: 'b/' })
  assert.equal(json.headers['content-type'], 'application/json; charset=utf-8')
  assert.equal(json.headers.vary, undefined)
  assert.equal(json.headers['x-container-object-count'], '2')
  const xml = await ask('GET', '/list?format=xml&delimiter=/')
  assert.equal(
    xml.text,
    '<?xml version="1.0" encoding="UTF-8"?>\n<container name="list"><object><name>a"&lt;&amp;</name>' +
      '<hash>5d41402abc4b2a76b9719d911017c592</hash><bytes>5</bytes><content_type>x/é</content_type>' +
      `<last_modified>${date}</last_modified></object><subdir name="b/"><name>b/</name></subdir></container>`,
  )
})

test('listing: of an account', async () => {
  const json = JSON.parse((await ask('GET', '?format=json&prefix=list')).text)
  assert.deepEqual(
    [json[0].name, json[0].count, json[0].bytes, Object.keys(json[0])],
    ['list', 2, 5, ['name', 'count', 'bytes', 'last_modified']],
  )
  const xml = await ask('GET', '?format=xml&prefix=list')
  assert.ok(
    xml.text.startsWith(`<?xml version="1.0" encoding="UTF-8"?>\n<account name="${account}">\n<container>`),
  )
  assert.ok(xml.text.endsWith('</container>\n</account>'))
  assert.equal((await ask('GET', '?prefix=none')).status, 204)
})

test('listing: pages, markers, directions and paths', async () => {
  await ask('PUT', '/pages')
  for (const name of ['a', 'b', 'b/', 'b/1', 'b/2', 'c']) {
    await ask('PUT', `/pages/${name}`, { body: '' })
  }
  const list = async (query: string) => (await ask('GET', `/pages?${query}`)).text.split('\n').filter(Boolean)
  assert.deepEqual(await list('limit=2'), ['a', 'b'])
  assert.deepEqual(await list('limit=0'), [])
  assert.deepEqual(await list('limit=x&marker=b/1'), ['b/2', 'c'])
  assert.deepEqual(await list('marker=a&end_marker=b/1'), ['b', 'b/'])
  assert.deepEqual(await list('reverse=on&marker=b/1'), ['b/', 'b', 'a'])
  assert.deepEqual(await list('path=b'), ['b/1', 'b/2'])
  assert.deepEqual(await list('path='), ['a', 'b', 'b/', 'c'])
  assert.deepEqual(await list('delimiter=/'), ['a', 'b', 'b/', 'c'])
  assert.deepEqual(await list('prefix=b/&delimiter=%2F&marker='), ['b/', 'b/1', 'b/2'])
  const tooMany = await ask('GET', '/pages?limit=10001')
  assert.deepEqual([tooMany.status, tooMany.text], [412, 'Maximum limit is 10000'])
})

test('listing: the type is negotiated', async () => {
  const typeOf = async (accept: string, query = '') =>
    (await ask('GET', `/list${query}`, { headers: { Accept: accept } })).headers['content-type']
  assert.equal(await typeOf('*/*'), 'text/plain; charset=utf-8')
  assert.equal(await typeOf('text/*;q=0.5, application/json;q=0.9'), 'application/json; charset=utf-8')
  assert.equal(await typeOf('application/*'), 'application/json; charset=utf-8')
  assert.equal(await typeOf('text/xml'), 'text/xml; charset=utf-8')
  assert.equal(await typeOf('image/png', '?format=XML'), 'application/xml; charset=utf-8')
  assert.equal(await typeOf('image/png', '?format=bogus'), 'text/plain; charset=utf-8')
  const none = await ask('GET', '/list', { headers: { Accept: 'image/png' } })
  assert.equal(none.status, 406)
  assert.throws(() => bestType('nonsense'), { status: 400 })
  assert.equal(bestType('application/json;q=0'), undefined)
})
