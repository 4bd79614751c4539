import assert from 'node:assert/strict'
import { type AddressInfo, createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import type { SourceFailure } from '#base/refusal.ts'
import { needs } from '../../../test/support/tools.ts'
import { file, makeCertificate, redirect, startWebServer } from '../../../test/support/web-server.ts'
import { networkFailure } from './failure.ts'
import { openHttpSource } from './http-source.ts'
import { type Lookup, systemLookup } from './pins.ts'

const CONTENT = Buffer.alloc(1_500_000, 'image')
const openssl = needs('openssl')
/** Nothing without openssl; what takes it is skipped then. */
const certificate: typeof makeCertificate = (...words) =>
  openssl.skip ? { key: '', cert: '' } : makeCertificate(...words)
const GOOD = certificate('DNS:images.test,IP:127.0.0.1')
const EXPIRED = certificate('DNS:images.test', '20200101000000Z')
const UNKNOWN = certificate('DNS:images.test')

const trusted = getCACertificates('default')
before(() => {
  if (!openssl.skip) setDefaultCACertificates([...trusted, GOOD.cert, EXPIRED.cert])
})
after(() => setDefaultCACertificates(trusted))

const loopback: Lookup = async () => ['127.0.0.1']

async function download(url: string, { lookup = loopback, allow = ['127.0.0.0/8', '::1/128'] } = {}) {
  await using source = await openHttpSource({
    url,
    lookup,
    allowSource: allow,
    limits: { ...DEFAULT_LIMITS, connectMs: 500, headersMs: 500, silenceMs: 500, resumes: 2 },
    signal: new AbortController().signal,
    pause: async () => {},
  })
  const parts: Buffer[] = []
  for await (const chunk of source.stream) parts.push(Buffer.from(chunk))
  return { bytes: Buffer.concat(parts), source }
}

const lasting = (message: RegExp) => ({ category: 'source', retryable: false, message })
const passing = (message: RegExp) => ({ category: 'source', retryable: true, message })

test('https source: the certificate fits, the bytes arrive, a drop is resumed', openssl, async () => {
  await using server = await startWebServer({ tls: GOOD })
  server.on('/image', file(CONTENT))
  const { bytes } = await download(`https://images.test:${server.port}/image`)
  assert.ok(bytes.equals(CONTENT))
  assert.equal(server.requests[0]?.headers.host, `images.test:${server.port}`)
  assert.ok((await download(server.url('/image'))).bytes.equals(CONTENT), 'by address')
  assert.ok((await download(`https://images.test.:${server.port}/image`)).bytes.equals(CONTENT), 'full name')
  server.on('/drops', (request, socket) => {
    const dropAfter = request.attempt === 0 ? { endAfter: 1_000_000 } : {}
    file(CONTENT, { etag: '"1"', ...dropAfter })(request, socket)
  })
  assert.ok((await download(server.url('/drops'))).bytes.equals(CONTENT))
})

test('https source: a consumer that pauses loses nothing', openssl, async () => {
  const content = Buffer.alloc(8_000_000)
  for (let at = 0; at < content.length; at += 4) content.writeUInt32LE(at, at)
  await using server = await startWebServer({ tls: GOOD })
  server.on('/image', file(content))
  await using source = await openHttpSource({
    url: server.url('/image'),
    allowSource: ['127.0.0.1/32'],
    limits: DEFAULT_LIMITS,
    signal: new AbortController().signal,
  })
  let offset = 0
  for await (const chunk of source.stream) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    assert.ok(content.subarray(offset, offset + chunk.length).equals(chunk), `at ${offset}`)
    offset += chunk.length
  }
  assert.equal(offset, content.length)
})

test('https source: a bad certificate is named, and is no passing fault', openssl, async () => {
  const faults = [
    [EXPIRED, 'images.test', /certificate has expired/],
    [UNKNOWN, 'images.test', /certificate is self-signed/],
    [GOOD, 'mirror.test', /certificate is for another host name/],
  ] as const
  for (const [tls, name, message] of faults) {
    await using server = await startWebServer({ tls })
    await assert.rejects(download(`https://${name}:${server.port}/`), lasting(message))
    assert.equal(server.requests.length, 0)
  }
})

test('https source: whatever is wrong with a certificate, it is no passing fault', () => {
  const codes =
    'CERT_SIGNATURE_FAILURE INVALID_CA INVALID_PURPOSE PATH_LENGTH_EXCEEDED CERT_CHAIN_TOO_LONG CRL_HAS_EXPIRED'
  for (const code of codes.split(' ')) {
    const { message, retryable } = networkFailure(Object.assign(new Error(code), { code })) as SourceFailure
    assert.match(message, /certificate is not valid/, code)
    assert.equal(retryable, false, code)
  }
})

test('https source: a certificate is checked whatever the environment says', openssl, async () => {
  await using server = await startWebServer({ tls: UNKNOWN })
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  try {
    await assert.rejects(download(`https://images.test:${server.port}/`), lasting(/self-signed/))
  } finally {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
  }
})

test('https source: a server that speaks no TLS is told apart from one that says nothing', async () => {
  await using mute = await startWebServer()
  await assert.rejects(download(`https://127.0.0.1:${mute.port}/`), passing(/in time/))
  const plain = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = plain.address() as AddressInfo
    await assert.rejects(download(`https://127.0.0.1:${port}/`), lasting(/no secure connection/))
  } finally {
    plain.close()
  }
})

test('R6 http source: a redirect from https to http is refused, the other way is fine', openssl, async () => {
  await using plain = await startWebServer()
  await using secure = await startWebServer({ tls: GOOD })
  plain.on('/image', file(CONTENT))
  plain.on('/up', redirect(secure.url('/image')))
  secure.on('/image', file(CONTENT))
  secure.on('/down', redirect(plain.url('/image')))
  await assert.rejects(download(secure.url('/down')), lasting(/from https to http/))
  assert.equal(plain.connections(), 0)
  assert.ok((await download(plain.url('/up'))).bytes.equals(CONTENT))
})

test('R3 R4 http source: private addresses are refused before anything is sent', async () => {
  await using server = await startWebServer()
  const hosts = [
    '127.0.0.1',
    '2130706433',
    '0x7f.1',
    '127.1',
    '[::1]',
    '[::ffff:7f00:1]',
    '[64:ff9b::7f00:1]',
    '0',
  ]
  for (const host of hosts) {
    const url = `http://${host}:${server.port}/`
    await assert.rejects(download(url, { allow: [] }), lasting(/address is not allowed/), host)
  }
  assert.equal(server.connections(), 0)
})

test('R5 http source: a name is refused when one of its addresses is bad', async () => {
  await using server = await startWebServer()
  const answers = [
    ['127.0.0.1'],
    ['93.184.215.14', '127.0.0.1'],
    ['93.184.215.14', 'fe80::1%lo'],
    ['nonsense'],
  ]
  for (const answer of answers) {
    const url = `http://images.test:${server.port}/`
    await assert.rejects(download(url, { lookup: async () => answer, allow: [] }), lasting(/not allowed/))
  }
  assert.equal(server.connections(), 0)
})

test('R4 http source: localhost is the loopback addresses that the operator opened, by default none', async () => {
  await using server = await startWebServer()
  server.on('/image', file(CONTENT))
  const lookup: Lookup = async () => ['::1', '127.0.0.1']
  for (const name of ['localhost', 'localhost.', 'LOCALHOST']) {
    const url = `http://${name}:${server.port}/image`
    await assert.rejects(download(url, { lookup, allow: [] }), lasting(/not allowed/))
    assert.ok((await download(url, { lookup, allow: ['127.0.0.0/8'] })).bytes.equals(CONTENT))
  }
})

test('R5 http source: a name is looked up once, also for redirects and resumes', async () => {
  await using server = await startWebServer()
  await using other = await startWebServer({ host: '127.0.0.2' })
  const names: string[] = []
  // 127.0.0.1 stands for a public address here, 127.0.0.2 for a private one.
  const rebinding: Lookup = async (name) => {
    names.push(name)
    return names.length === 1 ? ['127.0.0.1'] : ['127.0.0.2']
  }
  server.on('/start', redirect('/image'))
  server.on('/image', (request, socket) => {
    file(CONTENT, { etag: '"1"', ...(request.attempt === 0 ? { endAfter: 1000 } : {}) })(request, socket)
  })
  const url = `http://images.test:${server.port}/start`
  const { bytes } = await download(url, { lookup: rebinding, allow: ['127.0.0.1/32'] })
  assert.ok(bytes.equals(CONTENT))
  assert.deepEqual(names, ['images.test'])
  assert.equal(server.connections(), 3)
  assert.equal(other.connections(), 0)
})

test('R5 http source: the next attempt looks a name up anew, and believes no more than the first', async () => {
  await using server = await startWebServer()
  server.on('/image', file(CONTENT))
  const inside = ['169.254.169.254', '::ffff:a9fe:a9fe', 'fd00:ec2::254', '127.0.0.1', '::ffff:127.0.0.1']
  for (const address of inside) {
    const answers = [['127.0.0.9'], [address]]
    const rebinding: Lookup = async () => answers.shift() ?? []
    const url = `http://images.test:${server.port}/image`
    // 127.0.0.9 stands for a public address, where nobody listens.
    const options = { lookup: rebinding, allow: ['127.0.0.9/32'] }
    await assert.rejects(download(url, options), passing(/refused the connection/))
    await assert.rejects(download(url, options), lasting(/address is not allowed/), address)
  }
  assert.equal(server.connections(), 0)
})

test('R6 http source: a redirect to a name with a bad address is refused', async () => {
  await using server = await startWebServer()
  server.on('/start', redirect(`http://inside.test:${server.port}/secret`))
  const lookup: Lookup = async (name) => (name === 'inside.test' ? ['10.0.0.1'] : ['127.0.0.1'])
  await assert.rejects(
    download(`http://images.test:${server.port}/start`, { lookup }),
    lasting(/not allowed/),
  )
  assert.equal(server.connections(), 1)
})

test('http source: the next address is tried where the first does not answer', async () => {
  await using server = await startWebServer()
  server.on('/image', file(CONTENT))
  const lookup: Lookup = async () => ['127.0.0.3', '::1', '127.0.0.1']
  assert.ok((await download(`http://images.test:${server.port}/image`, { lookup })).bytes.equals(CONTENT))
})

test('http source: names that do not resolve, or not in time, are told apart', async () => {
  const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }))
  const url = 'http://images.test/'
  await assert.rejects(download(url, { lookup: failing('ENOTFOUND') }), lasting(/host name does not exist/))
  await assert.rejects(download(url, { lookup: failing('EAI_AGAIN') }), passing(/could not be looked up/))
  const long = `http://${'a'.repeat(300)}.test/`
  await assert.rejects(download(long, { lookup: systemLookup }), lasting(/host name cannot be one/))
  await assert.rejects(download(url, { lookup: async () => [] }), lasting(/has no address/))
  await assert.rejects(download(url, { lookup: () => new Promise(() => {}) }), passing(/took too long/))
})
