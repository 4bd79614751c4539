import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, test } from 'node:test'
import { openSwift } from '../../../test/support/swift-server.ts'

const SILENCE_MS = 200

const fixture = await openSwift({ silenceMs: SILENCE_MS })
after(() => fixture[Symbol.asyncDispose]())
const { ask, send, account, token, port } = fixture

const head = (path: string, headers: string, method = 'PUT') =>
  `${method} /v1/${account}${path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: ${token}\r\n${headers}\r\n\r\n`

const isThere = async (path: string) => (await ask('HEAD', path)).status === 200

test('body: it may come in chunks of unknown length', async () => {
  const headers = 'Transfer-Encoding: chunked\r\nConnection: close'
  const bytes = '5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n'
  assert.match(await send(head('/c/chunked', headers) + bytes), /^HTTP\/1\.1 201 Created\r\n/)
  assert.equal((await ask('GET', '/c/chunked')).text, 'hello world')
})

test('body: its length must be known or it must come in chunks', async () => {
  const answer = await send(head('/c/unsaid', 'Connection: close'))
  assert.match(answer, /^HTTP\/1\.1 411 Length Required\r\n/)
  assert.match(answer, /\r\n\r\nMissing Content-Length header\.$/)
})

test('body: lengths that are none, or two, are refused', async () => {
  for (const headers of [
    'Content-Length: -1',
    'Content-Length: five',
    'Content-Length: 5\r\nContent-Length: 6',
    'Transfer-Encoding: gzip',
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding: chunked\r\nContent-Length: 5',
  ]) {
    const answer = await send(`${head('/c/odd', headers)}hello`)
    assert.match(answer, /^HTTP\/1\.1 (?:400|501) /, headers)
  }
  assert.equal(await isThere('/c/odd'), false)
})

test('body: one that is cut before anybody reads it is answered at once, and a whole one is taken', async () => {
  const answers = await Promise.all([
    send(`${head('/c/cut', 'Transfer-Encoding: chunked')}zz\r\n`),
    send(`${head('/c/cut', 'Content-Length: 5')}hel`, { end: true }),
    send(`${head('/c/whole', 'Content-Length: 5')}hello this is no request\r\n\r\n`),
  ])
  assert.deepEqual(
    answers.map((answer) => answer.slice(9, 12)),
    ['400', '499', '201'],
  )
})

test('body: where there is none, what comes after the request does not hide its answer', async () => {
  const answer = await send(`${head('/c/unsaid', 'X-A: b')}testing`)
  assert.match(answer, /^HTTP\/1\.1 411 Length Required\r\n/)
  assert.equal(answer.split('HTTP/1.1').length, 2)
})

test('address: bytes beyond ASCII are taken as they are, on connections that go on', async () => {
  const raw = (path: string) => Buffer.from(path).toString('latin1')
  const requests = [
    [head(raw('/c/é'), 'Content-Length: 11'), 'ab', 'c/é GET x'],
    [head(raw('/c/é'), 'X-A: b', 'GET')],
    [head('/c/plain', 'X-A: b', 'GET')],
    [head('/c/\xff', 'Connection: close', 'GET')],
  ]
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  const answers: string[] = []
  for (const parts of requests) {
    for (const part of parts) {
      socket.write(part, 'latin1')
      await new Promise((resolve) => setImmediate(resolve))
    }
    const [answer] = (await once(socket, 'data')) as [string]
    answers.push(answer)
  }
  const statuses = answers.map((answer) => /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
  assert.deepEqual(statuses, ['201', '200', '404', '412'])
  assert.match(answers[1] ?? '', /\r\n\r\nabc/)
  assert.equal((await ask('HEAD', '/c/%C3%A9')).headers['content-length'], '11')
})

test('address: bytes that may be of a body are not taken for the beginning of a request', async () => {
  // The first request is refused before its body came, whose end and the second request come together.
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  socket.on('error', () => undefined)
  socket.write(head('/none/x', 'Content-Length: 9'))
  await once(socket, 'data')
  let answer = ''
  socket.on('data', (text) => {
    answer += text
  })
  socket.write('DELETE /?GET /v1/\xe9 HTTP/1.1\r\nHost: h\r\n\r\n', 'latin1')
  await once(socket, 'close')
  assert.match(answer, /^HTTP\/1\.1 400 /)
})

test('body: chunks that are none break the upload off with an answer', async () => {
  const answer = await send(`${head('/c/odd', 'Transfer-Encoding: chunked')}5\r\nhello\r\nzzz\r\n`)
  assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
  assert.match(answer, /\r\nX-Trans-Id: tx/)
  assert.equal(answer.split('HTTP/1.1').length, 2)
  assert.equal(await isThere('/c/odd'), false)
})

test('body: a client that ends early is told so where it still listens, and nothing is stored', async () => {
  for (const framing of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
    const body = framing.startsWith('C') ? 'hello' : '5\r\nhello\r\n'
    const answer = await send(head('/c/short', framing) + body, { end: true })
    assert.match(answer, /^HTTP\/1\.1 499 Client Disconnect\r\n/)
    assert.equal(await isThere('/c/short'), false)
  }
})

test('body: a client that goes away leaves nothing behind', async () => {
  await ask('PUT', '/c/before', { body: 'old' })
  const socket = connect(port, '127.0.0.1')
  socket.write(`${head('/c/before', 'Content-Length: 3000000')}${'x'.repeat(2_000_000)}`)
  await once(socket, 'drain')
  socket.resetAndDestroy()
  await once(socket, 'close')
  assert.equal((await ask('GET', '/c/before')).text, 'old')
})

test('body: a client that falls silent is told so', async () => {
  const answer = await send(`${head('/c/silent', 'Content-Length: 10')}hello`)
  assert.match(answer, /^HTTP\/1\.1 408 Request Timeout\r\n/)
  assert.equal(await isThere('/c/silent'), false)
})

test('body: it is asked for only where it can be taken', async () => {
  const expect = (path: string, more = '') => head(path, `Expect: 100-continue\r\nContent-Length: 5${more}`)
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  socket.write(expect('/c/asked', '\r\nConnection: close'))
  const [asked] = (await once(socket, 'data')) as [string]
  assert.equal(asked, 'HTTP/1.1 100 Continue\r\n\r\n')
  socket.write('hello')
  const [answer] = (await once(socket, 'data')) as [string]
  assert.match(answer, /^HTTP\/1\.1 201 /)

  const cases = [
    [expect('/none/x'), 404],
    [expect('/c/asked', '\r\nIf-None-Match: *'), 412],
    [expect('/c/asked', '\r\nX-Delete-At: 1'), 400],
    [head('/c/huge', 'Expect: 100-continue\r\nContent-Length: 5368709123'), 413],
    [expect('/c/asked').replace(token, 'wrong'), 401],
  ] as const
  for (const [bytes, status] of cases) {
    const refused = await send(bytes)
    assert.match(refused, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.match(refused, /\r\nConnection: close\r\n/)
  }
  assert.match(await send(head('/c/x', 'Expect: tea\r\nContent-Length: 5')), /^HTTP\/1\.1 417 /)
})

test('body: a client that sends on after a refusal can read it', async () => {
  const chunk = Buffer.alloc(1024 * 1024)
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  let answer = ''
  socket.on('data', (text) => {
    answer += text
  })
  socket.on('error', () => undefined)
  socket.write(head('/none/x', `Content-Length: ${64 * chunk.length}`))
  for (let sent = 0; sent < 8; sent++) await new Promise((resolve) => socket.write(chunk, resolve))
  while (!answer.includes('</html>')) await once(socket, 'data')
  assert.match(answer, /^HTTP\/1\.1 404 Not Found\r\n/)
  socket.destroy()
})

test('body: a small one that nobody reads does not cost the connection', async () => {
  const bytes = `${head('/none/x', 'Content-Length: 5')}hello${head('/c', 'Connection: close', 'HEAD')}`
  const answers = (await send(bytes)).match(/HTTP\/1\.1 \d+/g)
  assert.deepEqual(answers, ['HTTP/1.1 404', 'HTTP/1.1 204'])
})

test('body: requests may follow one another without waiting', async () => {
  const puts = Array.from({ length: 20 }, (_, index) => `${head(`/c/p${index}`, 'Content-Length: 2')}ab`)
  const answers = await send(puts.join('') + head('/c/p19', 'Connection: close', 'GET'))
  assert.equal(answers.match(/HTTP\/1\.1 201/g)?.length, 20)
  assert.match(answers, /ab$/)
})

test('body: a stop does not wait for the rest of one, and an answer under way ends its connection', async () => {
  await using own = await openSwift()
  const socket = connect(own.port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(
    `PUT /v1/${own.account}/c/x HTTP/1.1\r\nHost: h\r\nX-Auth-Token: ${own.token}\r\nContent-Length: 9\r\n` +
      'Expect: 100-continue\r\n\r\n',
  )
  await once(socket, 'data')
  const closed = once(socket, 'close')
  await Promise.all([own.stop(), closed])
})
