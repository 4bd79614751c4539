import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { openSwift, type SwiftFixture } from '../../../test/support/swift-server.ts'

/** Bytes of headers together are bounded by Node. */
const LONG = 'x'.repeat(9000)
const NUMBERS = ['-1', '0', '1e308', '9'.repeat(400), '99999999999999999999', '0x10', '1.5', 'NaN', '']
const TEXTS = [LONG, '%00', '%ff', '\xff\xfe', '/', '//', '../..', ',', ';', '"', "'", '%', '{}', '[]']
const VALUES = [...NUMBERS, ...TEXTS]

/** Every header that means something, wherever it does. */
const HEADERS = [
  ...[
    'accept',
    'cache-control',
    'content-disposition',
    'content-encoding',
    'content-language',
    'content-type',
  ],
  ...[
    'destination',
    'destination-account',
    'etag',
    'expires',
    'if-match',
    'if-modified-since',
    'if-none-match',
  ],
  ...['if-unmodified-since', 'origin', 'range', 'referer', 'x-auth-key', 'x-auth-token', 'x-auth-user'],
  ...['x-container-meta-access-control-allow-origin', 'x-container-meta-quota-bytes', 'x-container-read'],
  ...['x-container-meta-quota-count', 'x-container-meta-temp-url-key', 'x-container-write', 'x-copy-from'],
  ...['x-copy-from-account', 'x-delete-after', 'x-delete-at', 'x-detect-content-type', 'x-fresh-metadata'],
  ...['x-history-location', 'x-if-delete-at', 'x-object-manifest', 'x-object-meta-a', 'x-remove-delete-at'],
  ...['x-robots-tag', 'x-static-large-object', 'x-storage-policy', 'x-trans-id-extra', 'x-versions-location'],
  ...['x-web-mode', 'access-control-request-headers', 'access-control-request-method', 'x-account-meta-a'],
]
const QUERIES = [
  ...[
    'delimiter',
    'end_marker',
    'extract-archive',
    'filename',
    'format',
    'heartbeat',
    'inline',
    'limit',
    'marker',
  ],
  ...['multipart-manifest', 'path', 'prefix', 'reverse', 'temp_url_expires', 'temp_url_ip_range'],
  ...['temp_url_prefix', 'temp_url_sig', 'bulk-delete', 'async', 'ignore_range_header', 'symlink'],
]
const WHERE = ['', '/c', '/c/o', '/none', '/c/none']
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'COPY', 'OPTIONS']

describe('Orbit: what is too long, too much or of another kind', () => {
  let fixture: SwiftFixture
  before(async () => {
    fixture = await openSwift()
    await fixture.ask('PUT', '/c/o', { body: 'small' })
  })
  after(() => fixture[Symbol.asyncDispose]())
  const ask: SwiftFixture['ask'] = (...request) => fixture.ask(...request)

  /** Answers of many requests, sent behind one another: lines of their status. */
  async function statuses(requests: readonly string[]): Promise<string[]> {
    const socket = connect(fixture.port, '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => {})
    const closed = new Promise((resolve) => socket.once('close', resolve))
    for (const request of requests) socket.write(request, 'latin1')
    socket.end()
    await closed
    return [...text.matchAll(/HTTP\/1\.1 (\d{3} [^\r]*)/g)].map(([, line = '']) => line)
  }
  const requestOf = (method: string, path: string, header = '') =>
    `${method} /v1/${fixture.account}${path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${fixture.token}\r\n` +
    `Content-Length: 0\r\n${header}Connection: close\r\n\r\n`

  async function sweep(of: (method: string, where: string) => readonly string[]): Promise<number> {
    let count = 0
    for (const method of METHODS) {
      for (const where of WHERE) {
        // Whatever it did before, what is asked for is there.
        await Promise.all([ask('PUT', '/c'), ask('PUT', '/c/o', { body: 'small' })])
        const requests = of(method, where)
        const answers = await Promise.all(requests.map((request) => statuses([request])))
        answers.forEach((answer, index) => {
          const shown = `${requests[index]?.slice(0, 200)} … ${answer.join(', ')}`
          assert.ok(answer.length === 1 && /^[1-4]/.test(answer[0] ?? ''), shown)
        })
        count += requests.length
      }
    }
    return count
  }

  test('in any header of any request is no fault of ours', { timeout: 60_000 }, async (t) => {
    let turn = 0
    const count = await sweep((method, where) =>
      HEADERS.map((name) => requestOf(method, where, `${name}: ${VALUES[turn++ % VALUES.length]}\r\n`)),
    )
    t.diagnostic(`${count} requests`)
  })

  test('in any parameter of any request is no fault of ours', { timeout: 60_000 }, async (t) => {
    let turn = 0
    const count = await sweep((method, where) =>
      QUERIES.flatMap((name) =>
        [0, 1]
          .map(() => VALUES[turn++ % VALUES.length] ?? '')
          .map((value) => requestOf(method, `${where}?${name}=${value.replace(/[^!-~]/g, escape)}`)),
      ),
    )
    t.diagnostic(`${count} requests`)
  })

  test('is refused with what is wrong', async () => {
    const meta = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`X-Object-Meta-${n}`, 'v']))
    const cases: readonly [string, Record<string, string>, RegExp][] = [
      [`/${'x'.repeat(257)}`, {}, /^Container name length of 257 longer than 256/],
      [`/c/${'x'.repeat(1025)}`, {}, /^Object name length of 1025 longer than 1024/],
      ['/c/b', { 'Content-Type': 'x'.repeat(1025) }, /^Content-Type longer than 1024/],
      ['/c/b', { 'Content-Disposition': LONG }, /^Header value too long: content-disposition/],
      ['/c/b', { 'Cache-Control': LONG }, /^Header value too long: cache-control/],
      ['/c/b', { 'X-Object-Meta-A': 'x'.repeat(257) }, /^Metadata value longer than 256: x-object-meta-a/],
      ['/c/b', { [`X-Object-Meta-${'a'.repeat(129)}`]: 'x' }, /^Metadata name too long/],
      ['/c/b', meta(91), /^Too many metadata items; max 90/],
      ['/c/b', { 'X-Delete-At': '1e9' }, /^Non-integer X-Delete-At/],
      ['/c/b', { 'X-Delete-After': '-9'.repeat(200) }, /^Non-integer X-Delete-After/],
      ['/c/b', { 'X-Object-Manifest': '/' }, /^X-Object-Manifest must be in the format/],
      ['/c/b', { 'If-None-Match': '"a"' }, /^If-None-Match only supports \*/],
      ['/c', { 'X-Container-Meta-Quota-Bytes': '1e3' }, /^Invalid bytes quota/],
      ['/c', { 'X-Container-Meta-A': 'x'.repeat(257) }, /^Metadata value longer than 256/],
      ['/c', { 'X-Container-Meta-Quota-Count': '-1' }, /^Invalid count quota/],
      ['/c/b?multipart-manifest=put', {}, /.|^$/],
    ]
    for (const [path, headers, text] of cases) {
      const answer = await ask('PUT', path, { headers, body: '' })
      assert.equal(answer.status, 400, `${path} ${JSON.stringify(headers).slice(0, 80)} ${answer.text}`)
      assert.match(answer.text.replace(/<[^>]*>/g, ''), text)
    }
    for (const path of ['?limit=10001', '/c?limit=99999999999999999999', `/c?limit=${'9'.repeat(400)}`]) {
      const answer = await ask('GET', path)
      assert.equal(answer.status, 412)
      assert.match(answer.text, /Maximum limit is 10000/)
    }
    assert.deepEqual((await ask('GET', '/c')).text, 'o\n')
  })

  test('is no list that fills the memory, however slowly it is read', async () => {
    const segments = (entry: string) => ask('PUT', '/c/m?multipart-manifest=put', { body: entry })
    const many = JSON.stringify(Array.from({ length: 1001 }, () => ({ path: '/c/o' })))
    const refused: readonly [string, RegExp][] = [
      [many, /Number of (?:object-backed )?segments must be/],
      [`[${'['.repeat(100_000)}`, /./],
      [JSON.stringify([{ path: `/c/${'x'.repeat(100_000)}` }]), /./],
      [JSON.stringify([{ path: '/c/o', size_bytes: 1e300 }]), /size_bytes/],
      [JSON.stringify([{ path: '/c/o', etag: LONG }]), /./],
      [JSON.stringify([{ path: '/c/o', range: '9'.repeat(400) }]), /range/i],
      [JSON.stringify([{ path: 5, etag: {}, size_bytes: [], range: true }]), /./],
    ]
    for (const [entry, text] of refused) {
      const answer = await segments(entry)
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${entry.slice(0, 80)}`)
      assert.match(answer.text, text)
    }
  })
})
