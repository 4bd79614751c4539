import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS, type ImportLimits } from '#base/limits.ts'
import type { SourceFailure } from '#base/refusal.ts'
import {
  dripping,
  endless,
  file,
  head,
  inTurn,
  raw,
  redirect,
  silent,
  startWebServer,
  status,
  type WebServer,
} from '../../../test/support/web-server.ts'
import { type HttpSourceOptions, openHttpSource } from './http-source.ts'

const CONTENT = randomBytes(3 * MiB + 17)
const ETAG = '"version-1"'

/** Small enough that every fault shows within a second. */
const LIMITS: ImportLimits = {
  ...DEFAULT_LIMITS,
  sourceSize: 8 * MiB,
  connectMs: 500,
  headersMs: 300,
  silenceMs: 300,
  slowWindowMs: 400,
  totalMs: 5000,
  resumes: 3,
}

let server: WebServer
before(async () => {
  server = await startWebServer()
})
after(() => server[Symbol.asyncDispose]())

type Options = Partial<Omit<HttpSourceOptions, 'limits'>> & { readonly limits?: Partial<ImportLimits> }

const open = (url: string, options: Options = {}) =>
  openHttpSource({
    allowSource: ['127.0.0.0/8'],
    signal: new AbortController().signal,
    pause: async () => {},
    ...options,
    url,
    limits: { ...LIMITS, ...options.limits },
  })

async function download(url: string, options: Options = {}) {
  await using source = await open(url, options)
  const parts: Buffer[] = []
  for await (const chunk of source.stream) parts.push(Buffer.from(chunk))
  const bytes = Buffer.concat(parts)
  assert.equal(source.received(), bytes.length)
  return { bytes, source }
}

const serve = (path: string, behaviour: Parameters<WebServer['on']>[1]) => {
  server.on(path, behaviour)
  return server.url(path)
}
const requestsFor = (path: string) => server.requests.filter((request) => request.path === path)
const lasting = (message: RegExp) => ({ category: 'source', retryable: false, message })
const passing = (message: RegExp) => ({ category: 'source', retryable: true, message })

test('http source: a plain file arrives whole, with what the server says about it', async () => {
  const lastModified = 'Mon, 06 Jan 2025 10:00:00 GMT'
  const headers = { 'content-type': 'application/octet-stream' }
  const url = serve('/plain', file(CONTENT, { etag: ETAG, lastModified, headers }))
  const { bytes, source } = await download(`${url}?signature=secret#part`)
  assert.ok(bytes.equals(CONTENT))
  assert.equal(source.size, CONTENT.length)
  assert.equal(source.finalUrl, `${url}?signature=***`)
  assert.equal(source.etag, ETAG)
  assert.equal(source.lastModified, lastModified)
  assert.equal(source.contentType, 'application/octet-stream')
  const [request] = requestsFor('/plain?signature=secret')
  assert.equal(request?.headers['accept-encoding'], 'identity')
  assert.equal(request?.headers.host, `127.0.0.1:${server.port}`)
  assert.equal(request?.headers.authorization, undefined)
})

test('http source: chunked bodies, bodies up to the end of the connection and empty ones arrive whole', async () => {
  const chunked = (sizes: number[]) => {
    let offset = 0
    const parts = sizes.map((size) => {
      const chunk = CONTENT.subarray(offset, offset + size)
      offset += chunk.length
      return Buffer.concat([Buffer.from(`${chunk.length.toString(16)};x=1\r\n`), chunk, Buffer.from('\r\n')])
    })
    return Buffer.concat([...parts, Buffer.from('0\r\nTrailer: x\r\n\r\nnever read')])
  }
  const sizes = [1, 2, 3, 70_000, 131_072, 5, 1_000_000]
  const total = sizes.reduce((sum, size) => sum + size)
  const url = serve('/chunked', raw(head(200, { 'transfer-encoding': 'chunked' }), chunked(sizes)))
  assert.ok((await download(url)).bytes.equals(CONTENT.subarray(0, total)))
  const tiny = serve(
    '/tiny',
    raw(head(200, { 'transfer-encoding': 'chunked' }), chunked(Array(100_000).fill(1))),
  )
  assert.ok((await download(tiny)).bytes.equals(CONTENT.subarray(0, 100_000)))
  const old = serve('/old', raw('HTTP/1.0 200 OK\r\nServer: old\r\n\r\n', CONTENT))
  const { bytes, source } = await download(old)
  assert.ok(bytes.equals(CONTENT))
  assert.equal(source.size, undefined)
  assert.equal((await download(serve('/empty', status(200)))).bytes.length, 0)
  const announced = serve('/early', raw('HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n', head(200), 'abc'))
  assert.equal((await download(announced)).bytes.toString(), 'abc')
})

test('http source: a slow consumer gets every byte, and its slowness is not the server’s', async () => {
  const url = serve('/slow-consumer', file(CONTENT))
  await using source = await open(url, { limits: { silenceMs: 300, slowWindowMs: 300, slowRate: 1e12 } })
  let offset = 0
  for await (const chunk of source.stream) {
    if (offset === 0) await new Promise((resolve) => setTimeout(resolve, 700))
    assert.ok(CONTENT.subarray(offset, offset + chunk.length).equals(chunk))
    offset += chunk.length
  }
  assert.equal(offset, CONTENT.length)
})

test('http source: a chunk stays as it is until the next one is asked for', async () => {
  const url = serve('/held', file(CONTENT))
  await using source = await open(url)
  let offset = 0
  for await (const chunk of source.stream) {
    // Time for the socket to fill all that it may.
    await new Promise((resolve) => setTimeout(resolve, 5))
    assert.ok(CONTENT.subarray(offset, offset + chunk.length).equals(chunk), `at ${offset}`)
    offset += chunk.length
  }
  assert.equal(offset, CONTENT.length)
})

test('S1 http source: a server that never answers, or drips its headers, runs into the time limit', async () => {
  await assert.rejects(download(serve('/silent', silent)), passing(/did not answer within 0.3 seconds/))
  const drips = dripping('HTTP/1.1 200 OK\r\nX: ', 'a', 20)
  await assert.rejects(download(serve('/drips', drips)), passing(/did not answer within 0.3 seconds/))
  const hints = dripping('', 'HTTP/1.1 103 Early\r\n\r\n', 20)
  await assert.rejects(download(serve('/hints', hints)), passing(/did not answer within 0.3 seconds/))
})

test('S1 http source: headers over 16 KiB are refused', async () => {
  const long = raw(`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(MiB)}\r\n\r\n`)
  await assert.rejects(download(serve('/long', long)), lasting(/headers are longer than 16384 bytes/))
  const many = raw('HTTP/1.1 200 OK\r\n', 'X: a\r\n'.repeat(9000), '\r\n')
  await assert.rejects(download(serve('/many', many)), lasting(/headers are longer/))
})

test('http source: what is no HTTP is refused', async () => {
  const answers = {
    '/ssh': 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    '/smuggle': head(200, { 'content-length': 3, 'transfer-encoding': 'chunked' }),
    '/two-lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n',
    '/minus': head(200, { 'content-length': -1 }),
    '/huge': head(200, { 'content-length': '99999999999999999999999' }),
    '/coding': head(200, { 'transfer-encoding': 'gzip, chunked' }),
    '/folded': 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    '/zero': 'HTTP/1.1 200 OK\r\nA: b\u0000\r\n\r\n',
    '/upgrade': head(101, { upgrade: 'websocket' }),
    '/full-upgrade': head(101, { upgrade: 'websocket', connection: 'upgrade' }),
    '/continue': head(100),
  }
  for (const [path, text] of Object.entries(answers)) {
    await assert.rejects(download(serve(path, raw(text))), lasting(/not valid HTTP/), path)
  }
  await assert.rejects(download(serve('/nothing', raw())), passing(/closed the connection without an answer/))
})

test('S2 http source: a body that drips or stops is given up', async () => {
  const start = head(200, { 'content-length': 5 * MiB })
  const drip = serve('/drip-body', dripping(start, 'a', 30))
  await assert.rejects(download(drip), passing(/less than 65536 bytes a second arrived over 0.4 seconds/))
  const stops = serve('/stops', file(CONTENT, { stopAfter: 1000, ranges: false }))
  await assert.rejects(
    download(stops, { limits: { slowWindowMs: 60_000 } }),
    passing(/fell silent after 1000 bytes, and the server gives no way to go on/),
  )
  // Chunk framing alone is no progress.
  const framing = dripping(head(200, { 'transfer-encoding': 'chunked' }), '1;', 30)
  await assert.rejects(
    download(serve('/framing', framing), { limits: { slowWindowMs: 60_000 } }),
    passing(/fell silent after 0 bytes/),
  )
})

test('S3 http source: an endless body is stopped at the limit', async () => {
  const taken = { bytes: 0 }
  await using source = await open(serve('/endless', endless))
  await assert.rejects(
    async () => {
      for await (const chunk of source.stream) taken.bytes += chunk.length
    },
    { category: 'too-large', code: 'too_large', message: /more than the limit of 8388608/ },
  )
  assert.ok(taken.bytes <= LIMITS.sourceSize + MiB)
})

test('S4 http source: a body shorter than its Content-Length is never taken for whole', async () => {
  const short = file(CONTENT.subarray(0, 1024), { etag: ETAG, headers: { 'content-length': `${5 * MiB}` } })
  await assert.rejects(download(serve('/short', short)), passing(/HTTP status|lost|start|missing/))
  const noRanges = file(CONTENT.subarray(0, 1024), {
    ranges: false,
    headers: { 'content-length': `${5 * MiB}` },
  })
  await assert.rejects(download(serve('/short2', noRanges)), passing(/lost after 1024 bytes/))
  const chunked = raw(head(200, { 'transfer-encoding': 'chunked' }), 'ff\r\nabc')
  await assert.rejects(download(serve('/short3', chunked)), passing(/lost after 3 bytes/))
})

test('S5 http source: what follows the Content-Length does not count', async () => {
  const long = raw(head(200, { 'content-length': 4 }), 'datatrash', 'HTTP/1.1 200 OK\r\n\r\nmore')
  assert.equal((await download(serve('/longer', long))).bytes.toString(), 'data')
})

test('S6 http source: a Content-Length over the limit is refused before the body', async () => {
  for (const length of [`${8 * MiB + 1}`, '9999999999999999999']) {
    const url = serve('/big', raw(head(200, { 'content-length': length })))
    await assert.rejects(open(url), { category: 'too-large', message: /more than the limit of 8388608/ })
  }
})

test('S7 http source: a content coding is not taken off', async () => {
  const headers = { 'content-encoding': 'gzip' }
  const { bytes } = await download(serve('/coded', file(CONTENT, { headers })))
  assert.ok(bytes.equals(CONTENT))
})

test('S7 http source: a content coding that leaves no mark in the bytes is refused, also among others', async () => {
  const inTwoLines = 'identity\r\nContent-Encoding: br'
  for (const coding of ['br', 'deflate', 'X-Compress', 'gzip, br', 'identity,dcz', 'br, é', inTwoLines]) {
    const url = serve('/hidden', file(CONTENT, { headers: { 'content-encoding': coding } }))
    await assert.rejects(open(url), lasting(/compressed its answer \(Content-Encoding\)/), coding)
  }
  for (const coding of ['identity', '', 'UTF-8', 'zstd', 'x-gzip']) {
    const url = serve('/shown', file(CONTENT, { headers: { 'content-encoding': coding } }))
    assert.ok((await download(url)).bytes.equals(CONTENT), coding)
  }
  const page = serve('/page', status(404, { 'content-encoding': 'br' }))
  await assert.rejects(open(page), lasting(/HTTP status 404/))
})

test('S13 http source: only a plain 200 is taken, and the failure says what to do', async () => {
  for (const code of [201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 451, 501]) {
    const secret = 'root:x:0:0'
    await assert.rejects(
      download(serve(`/status-${code}`, status(code, {}, secret))),
      (error: SourceFailure) => {
        assert.equal(error.retryable, false)
        assert.equal(error.message, `The download failed: HTTP status ${code}.`)
        assert.ok(error.hint)
        // R10: nothing of the body is quoted.
        assert.ok(!JSON.stringify([error.message, error.hint]).includes(secret))
        return true
      },
    )
  }
  for (const code of [408, 429, 500, 502, 503, 504]) {
    await assert.rejects(download(serve('/busy', status(code))), passing(new RegExp(`HTTP status ${code}`)))
  }
})

test('http source: Retry-After is told to whoever tries again', async () => {
  const seconds = serve('/retry', status(503, { 'retry-after': '7' }))
  await assert.rejects(download(seconds), { retryAfterMs: 7000 })
  const date = serve('/retry', status(429, { 'retry-after': 'Mon, 06 Jan 2025 10:00:30 GMT' }))
  const now = () => Date.parse('2025-01-06T10:00:00Z')
  await assert.rejects(download(date, { now }), { retryAfterMs: 30_000 })
  for (const [asked, ms] of [
    ['99999999999999999999', 24 * 3600_000],
    ['Tue, 06 Jan 2125 10:00:00 GMT', 24 * 3600_000],
    ['Mon, 06 Jan 1925 10:00:00 GMT', 0],
    ['-5', 0],
  ] as const) {
    const absurd = serve('/retry', status(503, { 'retry-after': asked }))
    await assert.rejects(download(absurd, { now }), { retryAfterMs: ms }, asked)
  }
  const nonsense = serve('/retry', status(503, { 'retry-after': 'soon' }))
  await assert.rejects(download(nonsense), { retryAfterMs: undefined })
})

test('R6 http source: redirects are followed, the last URL is told', async () => {
  const target = serve('/target', file(CONTENT, { etag: ETAG }))
  serve('/hop-2', redirect(`${target}?key=secret`, 307))
  const url = serve('/hop-1', redirect('hop-2', 301))
  const { bytes, source } = await download(url)
  assert.ok(bytes.equals(CONTENT))
  assert.equal(source.finalUrl, `${target}?key=***`)
})

test('R6 http source: a redirect may go nowhere that a user may not point at', async () => {
  const targets = {
    'file:///etc/passwd': /a redirect breaks a rule: its source URL does not begin with http/,
    'gopher://127.0.0.1/': /does not begin with http/,
    'http://user:pw@127.0.0.1/': /user name or a password/,
    'http://127.0.0.1:6379/': /port/,
    'http://[': /cannot be read/,
    'http://169.254.169.254/latest/meta-data/': /address is not allowed/,
    'http://[::1]/': /address is not allowed/,
    'http://2852039166/': /address is not allowed/,
  }
  for (const [target, message] of Object.entries(targets)) {
    await assert.rejects(download(serve('/evil', redirect(target))), lasting(message), target)
  }
})

test('R7 http source: redirect loops, long chains and a missing Location end', async () => {
  await assert.rejects(download(serve('/loop', redirect('/loop'))), lasting(/more than 5 redirects/))
  assert.equal(requestsFor('/loop').length, 6)
  await assert.rejects(download(serve('/no-location', status(302))), lasting(/does not say where to/))
  await assert.rejects(download(serve('/empty-location', redirect(''))), lasting(/does not say where to/))
  const refresh = serve('/refresh', status(200, { refresh: '0; url=http://169.254.169.254/' }, 'page'))
  assert.equal((await download(refresh)).bytes.toString(), 'page')
})

test('R9 http source: a proxy of the environment is not asked', async () => {
  await using proxy = await startWebServer()
  const names = ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY', 'NODE_USE_ENV_PROXY']
  for (const name of names) process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : proxy.url('')
  try {
    await download(serve('/direct', file(CONTENT)))
  } finally {
    for (const name of names) delete process.env[name]
  }
  assert.equal(proxy.connections(), 0)
})

test('http source: a port where nobody listens fails as passing', async () => {
  const gone = await startWebServer()
  const url = gone.url('/')
  await gone[Symbol.asyncDispose]()
  await assert.rejects(download(url), passing(/refused the connection/))
})

test('http source: cancelling ends every wait with the reason given', async () => {
  const reason = new Error('cancelled')
  const waits = { silent, stopped: file(CONTENT, { stopAfter: 1000 }), endless }
  for (const [name, behaviour] of Object.entries(waits)) {
    const controller = new AbortController()
    const url = serve('/cancel', (request, socket) => {
      behaviour(request, socket)
      setTimeout(() => controller.abort(reason), 50)
    })
    const limits = { headersMs: 60_000, silenceMs: 60_000, sourceSize: 1e12 }
    await assert.rejects(download(url, { signal: controller.signal, limits }), reason, name)
  }
  await assert.rejects(download(serve('/cancel', silent), { signal: AbortSignal.abort(reason) }), reason)
  const controller = new AbortController()
  const dropping = serve('/cancel', file(CONTENT, { etag: ETAG, dropAfter: 1000 }))
  const pause = async (_ms: number, signal: AbortSignal) => {
    controller.abort(reason)
    signal.throwIfAborted()
  }
  await assert.rejects(download(dropping, { signal: controller.signal, pause }), reason)
})

test('http source: the whole import may not take longer than its limit', async () => {
  const limits = { totalMs: 200, silenceMs: 60_000, headersMs: 60_000 }
  await assert.rejects(
    download(serve('/silent', silent), { limits }),
    lasting(/took longer than 0.2 seconds/),
  )
  const stops = serve('/stops', file(CONTENT, { stopAfter: 1000 }))
  await assert.rejects(download(stops, { limits }), lasting(/took longer than 0.2 seconds/))
})

test('http source: leaving the stream early closes the connection', async () => {
  const closed = Promise.withResolvers<void>()
  const url = serve('/left', (request, socket) => {
    socket.on('close', () => closed.resolve())
    endless(request, socket)
  })
  await using source = await open(url)
  for await (const _chunk of source.stream) break
  await closed.promise
  const unread = Promise.withResolvers<void>()
  serve('/left', (request, socket) => {
    socket.on('close', () => unread.resolve())
    endless(request, socket)
  })
  await (await open(url))[Symbol.asyncDispose]()
  await unread.promise
})

test('http source: a first attempt that fails does not disturb the second', async () => {
  const url = serve('/recovers', inTurn(status(503), file(CONTENT)))
  await assert.rejects(download(url), passing(/503/))
  assert.ok((await download(url)).bytes.equals(CONTENT))
})
