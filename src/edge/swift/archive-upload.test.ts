import assert from 'node:assert/strict'
import { buffer } from 'node:stream/consumers'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Header, pack } from 'tar-stream'
import { openSwift } from '../../../test/support/swift-server.ts'

const fixture = await openSwift()
after(() => fixture[Symbol.asyncDispose]())
const { ask, account, auth, logIn } = fixture

interface Report {
  'Number Files Created': number
  'Response Status': string
  'Response Body': string
  Errors: [string, string][]
}

type EntryHeader = Partial<Header> & Pick<Header, 'name'>

async function make(entries: readonly [EntryHeader, string | Buffer][]): Promise<Buffer> {
  const archive = pack()
  for (const [header, body] of entries) archive.entry(header, body)
  archive.finalize()
  return buffer(archive)
}

const files = (...names: string[]) => make(names.map((name) => [{ name }, `in ${name}`]))

async function upload(
  path: string,
  body: Uint8Array,
  { format = 'tar', token = fixture.token as string | null } = {},
) {
  const headers = { Accept: 'application/json' }
  const answer = await ask('PUT', `${path}?extract-archive=${format}`, { headers, body, token })
  assert.equal(answer.status, 200, answer.text)
  return JSON.parse(answer.text) as Report
}

const created = (count: number): Report => ({
  'Number Files Created': count,
  'Response Status': '201 Created',
  'Response Body': '',
  Errors: [],
})
const listed = async (container: string) => (await ask('GET', `/${container}`)).text.trim().split('\n')

test('archive: its files become objects in containers named by their first folder, made where missing', async () => {
  const bytes = await make([
    [{ name: 'one/', type: 'directory' }, ''],
    [{ name: 'one/a.txt' }, 'hello'],
    [{ name: './one/b/größe 語' }, 'x'.repeat(100_000)],
    [{ name: '/two/c' }, ''],
    [{ name: 'top' }, 'is in no container'],
    [{ name: 'one/link', type: 'symlink', linkname: '/etc/passwd' }, ''],
  ])
  assert.deepEqual(await upload('', bytes), created(3))
  assert.deepEqual(await listed('one'), ['a.txt', 'b/größe 語'])
  const { text, headers } = await ask('GET', '/one/a.txt')
  assert.deepEqual([text, headers['content-type']], ['hello', 'text/plain'])
  assert.equal(
    (await ask('HEAD', `/one/${encodeURIComponent('b/größe 語')}`)).headers['content-length'],
    '100000',
  )
  assert.deepEqual(await listed('two'), ['c'])
})

test('archive: into a container and a folder, compressed or not', async () => {
  const bytes = await files('a', 'd/b')
  assert.deepEqual(await upload('/into', bytes), created(2))
  assert.deepEqual(await upload('/into/some/folder/', gzipSync(bytes), { format: '.tar.gz' }), created(2))
  assert.deepEqual(await upload('/into/x', gzipSync(bytes), { format: 'TAR.GZ' }), created(2))
  const expected = ['a', 'd/b', 'some/folder/a', 'some/folder/d/b', 'x/a', 'x/d/b']
  assert.deepEqual(await listed('into'), expected)
})

test('archive: names are objects, never paths', async () => {
  const names = ['../../etc/passwd', 'a/../../b', '//double', 'c/./d']
  assert.deepEqual(await upload('/paths', await files(...names)), created(4))
  assert.deepEqual(await listed('paths'), ['../../etc/passwd', 'a/../../b', 'c/./d', 'double'])
})

test('archive: a file that cannot be is an error of its own, the others are there', async () => {
  const bytes = await files('x'.repeat(1025), 'good')
  const report = await upload('/bad', bytes)
  assert.deepEqual(report, {
    'Number Files Created': 1,
    'Response Status': '400 Bad Request',
    'Response Body': '',
    Errors: [[`bad/${'x'.repeat(1025)}`, '400 Bad Request']],
  })
  const wrong = await files('caf_')
  const at = wrong.indexOf('caf_') + 3
  wrong[at] = 0xe9
  // The checksum of the header is that of its bytes.
  const sum = Number.parseInt(wrong.toString('latin1', 148, 154), 8) + 0xe9 - 0x5f
  wrong.write(sum.toString(8).padStart(6, '0'), 148)
  assert.deepEqual((await upload('/bad', wrong)).Errors, [['bad/caf%E9', '412 Precondition Failed']])
})

test('archive: what is none is told so, and what came before its fault stays', async () => {
  const bytes = await files('a', 'b')
  for (const [body, format, message] of [
    [Buffer.alloc(2000, '1'), 'tar', /^Invalid Tar File: bad checksum/],
    [bytes, 'tar.gz', /^Invalid Tar File: The gzip stream is damaged at byte 0/],
    [Buffer.alloc(10_240), 'tar', /^Invalid Tar File: No Valid Files/],
    [Buffer.alloc(0), 'tar', /^Invalid Tar File: No Valid Files/],
    [gzipSync(bytes).subarray(0, 100), 'tar.gz', /^Invalid Tar File: The file ends too early/],
  ] as const) {
    const report = await upload('/none', body, { format })
    assert.equal(report['Response Status'], '400 Bad Request')
    assert.match(report['Response Body'], message)
  }
  const cut = await upload('/cut', bytes.subarray(0, 1030))
  assert.deepEqual([cut['Number Files Created'], cut['Response Status']], [1, '400 Bad Request'])
  assert.deepEqual(await listed('cut'), ['a'])
})

test('archive: a fault near its beginning ends it while the client still sends', async () => {
  const report = await upload('/early', Buffer.alloc(16 * 1024 * 1024, '1'))
  assert.match(report['Response Body'], /bad checksum/)
  assert.equal((await ask('HEAD', '/early')).status, 404)
})

test('archive: other formats are refused at once', async () => {
  for (const format of ['tar.bz2', 'zip', '', 'tar.xz']) {
    const { status, text } = await ask('PUT', `/c?extract-archive=${format}`, { body: 'x' })
    assert.deepEqual([status, text], [400, 'Unsupported archive format'], format)
  }
})

test('archive: who may not put ends it with the first file', async () => {
  const report = await upload('/c', await files('a', 'b'), { token: null })
  assert.deepEqual([report['Response Status'], report['Number Files Created']], ['401 Unauthorized', 0])
  assert.deepEqual(report.Errors, [['c/a', '401 Unauthorized']])
  const { client, secret } = await auth.operator.createClient(account, { permissions: 'storage' })
  const token = await logIn({ id: client.id, secret })
  const denied = await upload('/c', await files('a'), { token })
  assert.deepEqual(denied.Errors, [['c/a', '403 Forbidden']])
  assert.deepEqual((await upload('/none', await files('a'), { token })).Errors, [['none/a', '403 Forbidden']])
  await ask('POST', '/c', { headers: { 'X-Container-Write': `${account}:${client.id}` } })
  assert.deepEqual(await upload('/c', await files('a'), { token }), created(1))
})

test('archive: a quota refuses the files that are too much', async () => {
  await ask('PUT', '/small', { headers: { 'X-Container-Meta-Quota-Bytes': '20' } })
  const bytes = await make([
    [{ name: 'big' }, 'x'.repeat(50_000)],
    [{ name: 'fits' }, 'x'],
  ])
  const report = await upload('/small', bytes)
  assert.deepEqual(report.Errors, [['small/big', '413 Payload Too Large']])
  assert.deepEqual(await listed('small'), ['fits'])
})

test('archive: a client that goes away leaves whole files only', async () => {
  const bytes = await make([
    [{ name: 'a' }, 'x'],
    [{ name: 'b' }, 'y'.repeat(3_000_000)],
  ])
  const head =
    `PUT /v1/${account}/gone?extract-archive=tar HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${fixture.token}\r\n` +
    `Content-Length: ${bytes.length}\r\n\r\n`
  const answer = await fixture.send(Buffer.concat([Buffer.from(head), bytes.subarray(0, 2_000_000)]), {
    end: true,
  })
  assert.match(answer, /^HTTP\/1\.1 499/)
  assert.deepEqual(await listed('gone'), ['a'])
})

test('archive: a small one that unpacks to much takes no room that it may not', async () => {
  await ask('PUT', '/bomb', { headers: { 'X-Container-Meta-Quota-Bytes': '1000000' } })
  const bytes = gzipSync(
    await make([
      [{ name: 'zeros' }, Buffer.alloc(64 * 1024 * 1024)],
      [{ name: 'b' }, 'b'],
    ]),
  )
  const report = await upload('/bomb', bytes, { format: 'tar.gz' })
  assert.deepEqual(report.Errors, [['bomb/zeros', '413 Payload Too Large']])
  assert.deepEqual(await listed('bomb'), ['b'])
})
