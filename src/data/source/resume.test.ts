import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { KiB, MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS, type ImportLimits } from '#base/limits.ts'
import {
  type Behaviour,
  type FileOptions,
  file,
  head,
  inTurn,
  raw,
  redirect,
  startWebServer,
  status,
  type WebServer,
} from '../../../test/support/web-server.ts'
import { openHttpSource } from './http-source.ts'

const CONTENT = randomBytes(2 * MiB + 5)
const ETAG = '"version-1"'
const LIMITS: ImportLimits = { ...DEFAULT_LIMITS, headersMs: 500, silenceMs: 400, resumes: 5 }

let server: WebServer
before(async () => {
  server = await startWebServer()
})
after(() => server[Symbol.asyncDispose]())

async function download(path: string, limits: Partial<ImportLimits> = {}) {
  const pauses: number[] = []
  await using source = await openHttpSource({
    url: server.url(path),
    limits: { ...LIMITS, ...limits },
    allowSource: ['127.0.0.1/32'],
    signal: new AbortController().signal,
    now: () => Date.parse('2025-06-01T00:00:00Z'),
    pause: async (ms) => {
      pauses.push(ms)
    },
  })
  const parts: Buffer[] = []
  for await (const chunk of source.stream) parts.push(Buffer.from(chunk))
  return { bytes: Buffer.concat(parts), source, pauses }
}

const asked = (path: string) => server.requests.filter((request) => request.path === path)
const passing = (message: RegExp) => ({ category: 'source', retryable: true, message })
/** Closes the connection in the middle the first time, then behaves as told. */
const afterDrop = (options: FileOptions, then: Behaviour) =>
  inTurn(file(CONTENT, { endAfter: MiB, ...options }), then)

test('S8 resume: a dropped connection goes on where it broke, by the ETag', async () => {
  const options = { etag: ETAG }
  server.on('/drop', inTurn(file(CONTENT, { ...options, dropAfter: 800 * KiB }), file(CONTENT, options)))
  const { bytes, source } = await download('/drop')
  assert.ok(bytes.equals(CONTENT))
  assert.equal(source.received(), CONTENT.length)
  const [, second] = asked('/drop')
  assert.match(second?.headers.range ?? '', /^bytes=\d+-$/)
  assert.equal(second?.headers['if-range'], ETAG)
})

test('S8 resume: a silent connection is dropped and taken up elsewhere', async () => {
  server.on('/stall', inTurn(file(CONTENT, { etag: ETAG, stopAfter: MiB }), file(CONTENT, { etag: ETAG })))
  const { bytes } = await download('/stall')
  assert.ok(bytes.equals(CONTENT))
  assert.equal(asked('/stall')[1]?.headers.range, `bytes=${MiB}-`)
})

test('S8 resume: a weak ETag does not do, a date does once it is a minute old', async () => {
  const dated = { etag: 'W/"weak"', lastModified: 'Mon, 06 Jan 2025 10:00:00 GMT' }
  server.on('/dated', afterDrop(dated, file(CONTENT, dated)))
  assert.ok((await download('/dated')).bytes.equals(CONTENT))
  assert.equal(asked('/dated')[1]?.headers['if-range'], dated.lastModified)
  const fresh: readonly FileOptions[] = [
    { etag: 'W/"weak"' },
    { lastModified: 'Sat, 31 May 2025 23:59:30 GMT' },
    { ...dated, headers: { date: 'Mon, 06 Jan 2025 10:00:59 GMT' } },
    { lastModified: 'yesterday' },
    {},
  ]
  for (const [index, options] of fresh.entries()) {
    server.on(`/fresh-${index}`, afterDrop(options, file(CONTENT, options)))
    await assert.rejects(download(`/fresh-${index}`), passing(/the server gives no way to go on/))
    assert.equal(asked(`/fresh-${index}`).length, 1)
  }
})

test('S9 resume: a 200 to it means to start again, and says so', async () => {
  server.on('/no-ranges', afterDrop({ etag: ETAG }, file(CONTENT, { etag: ETAG, ranges: false })))
  await assert.rejects(download('/no-ranges'), passing(/has to be read again from the start/))
})

test('S10 resume: another part than the one asked for is refused', async () => {
  const rest = CONTENT.subarray(MiB)
  const total = CONTENT.length
  const range = (start: number, size: number | string = total, end = total) =>
    `bytes ${start}-${end - 1}/${size}`
  const answers: Readonly<Record<string, Readonly<Record<string, string | number>>>> = {
    'other start': { 'content-range': range(MiB - 1) },
    'later start': { 'content-range': range(MiB + 1) },
    'other total': { 'content-range': range(MiB, total + 1) },
    'unknown total': { 'content-range': range(MiB, '*') },
    'past its total': { 'content-range': range(MiB, total, total + 1) },
    backwards: { 'content-range': range(MiB, total, MiB - 5) },
    'no range': {},
    'other unit': { 'content-range': `lines ${MiB}-${total - 1}/${total}` },
    'other length': { 'content-range': range(MiB), 'content-length': rest.length - 1 },
    multipart: { 'content-type': 'multipart/byteranges; boundary=x' },
    'other etag': { 'content-range': range(MiB), etag: '"version-2"' },
    'other coding': { 'content-range': range(MiB), 'content-encoding': 'gzip' },
  }
  for (const [name, fields] of Object.entries(answers)) {
    const path = `/part-${name.replaceAll(' ', '-')}`
    const answer = raw(head(206, { etag: ETAG, 'content-length': rest.length, ...fields }), rest)
    server.on(path, afterDrop({ etag: ETAG }, answer))
    await assert.rejects(download(path), passing(/from the start/), name)
  }
  const fields = { 'content-range': range(MiB), 'content-length': rest.length }
  server.on('/no-etag', afterDrop({ etag: ETAG }, raw(head(206, fields), rest)))
  await assert.rejects(download('/no-etag'), passing(/file has changed/))
  const chunk = Buffer.concat([Buffer.from('200000\r\n'), CONTENT.subarray(0, 2 * MiB), Buffer.from('\r\n')])
  const tooMuch = head(206, { etag: ETAG, 'content-range': range(MiB), 'transfer-encoding': 'chunked' })
  server.on('/more', afterDrop({ etag: ETAG }, raw(tooMuch, chunk, '0\r\n\r\n')))
  await assert.rejects(download('/more'), passing(/sent more than the missing part/))
})

test('S10 resume: a part that stops short is asked on from its end', async () => {
  const part = CONTENT.subarray(MiB, MiB + 1000)
  const range = `bytes ${MiB}-${MiB + 999}/${CONTENT.length}`
  const first = raw(head(206, { etag: ETAG, 'content-range': range, 'content-length': 1000 }), part)
  server.on(
    '/part',
    inTurn(file(CONTENT, { etag: ETAG, endAfter: MiB }), first, file(CONTENT, { etag: ETAG })),
  )
  assert.ok((await download('/part')).bytes.equals(CONTENT))
  assert.equal(asked('/part')[2]?.headers.range, `bytes=${MiB + 1000}-`)
})

test('S10 resume: a part need not name the coding again', async () => {
  const coded = { etag: ETAG, headers: { 'content-encoding': 'gzip' } }
  server.on('/coded-part', afterDrop(coded, file(CONTENT, { etag: ETAG })))
  assert.ok((await download('/coded-part')).bytes.equals(CONTENT))
})

test('S11 resume: a 416 means done only where all of it is here', async () => {
  const chunked = (bytes: Uint8Array) =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
  const unended = raw(head(200, { etag: ETAG, 'transfer-encoding': 'chunked' }), chunked(CONTENT))
  server.on('/done', inTurn(unended, file(CONTENT, { etag: ETAG })))
  assert.ok((await download('/done')).bytes.equals(CONTENT))
  assert.equal(asked('/done').length, 2)
  const answers = [{ 'content-range': `bytes */${CONTENT.length + 1}` }, {}, { etag: '"version-2"' }]
  for (const [index, fields] of answers.entries()) {
    server.on(`/416-${index}`, inTurn(unended, status(416, fields)))
    await assert.rejects(download(`/416-${index}`), passing(/from the start/))
  }
  server.on('/early-416', afterDrop({ etag: ETAG }, status(416, { 'content-range': `bytes */${MiB}` })))
  await assert.rejects(download('/early-416'), passing(/from the start/))
})

test('S12 resume: a file that has changed is never mixed with what came before', async () => {
  const changed = randomBytes(CONTENT.length)
  server.on('/changed', afterDrop({ etag: ETAG }, file(changed, { etag: '"version-2"' })))
  await assert.rejects(download('/changed'), passing(/from the start/))
})

test('S15 resume: a server that drops again and again is given up after so many resumes', async () => {
  const drops = file(CONTENT, { etag: ETAG, endAfter: 200 * KiB })
  server.on('/drops', drops)
  const failure = passing(/lost for good after 819200 of 2097157 bytes and 3 resumes/)
  await assert.rejects(download('/drops', { resumes: 3 }), failure)
  assert.equal(asked('/drops').length, 4)
  server.on('/drops-2', drops)
  assert.ok((await download('/drops-2', { resumes: 20 })).bytes.equals(CONTENT))
})

test('S15 resume: a resume that brings nothing is the last one', async () => {
  const empty = afterDrop({ etag: ETAG }, file(CONTENT, { etag: ETAG, dropAfter: 0 }))
  server.on('/barren', empty)
  await assert.rejects(
    download('/barren'),
    passing(/lost for good after 1048576 of 2097157 bytes and 1 resume\./),
  )
  assert.equal(asked('/barren').length, 2)
})

test('resume: a server that restarts is knocked at with patience, or with as much as it asks for', async () => {
  const first = file(CONTENT, { etag: ETAG, endAfter: MiB })
  const busy = status(503, { 'retry-after': '20' })
  server.on('/restart', inTurn(first, status(502), status(503), busy, file(CONTENT, { etag: ETAG })))
  const { bytes, pauses } = await download('/restart')
  assert.ok(bytes.equals(CONTENT))
  assert.deepEqual(pauses, [100, 200, 400, 20_000])
  server.on('/gone-for-good', inTurn(first, status(500)))
  await assert.rejects(download('/gone-for-good'), passing(/HTTP status 500/))
  assert.equal(asked('/gone-for-good').length, 9)
  server.on('/removed', inTurn(first, status(404)))
  await assert.rejects(download('/removed'), { retryable: false, message: /HTTP status 404/ })
  assert.equal(asked('/removed').length, 2)
})

test('resume: goes to where the redirects led, and back to the start when that has run out', async () => {
  server.on('/start', inTurn(redirect('/signed?signature=1'), redirect('/signed?signature=2')))
  let resumed = false
  server.on('/signed', (request, socket) => {
    const behaviour =
      request.headers.range === undefined
        ? file(CONTENT, { etag: ETAG, endAfter: MiB })
        : request.path.endsWith('=1')
          ? status(403)
          : file(CONTENT, { etag: ETAG })
    resumed ||= request.path.endsWith('=2')
    behaviour(request, socket)
  })
  assert.ok((await download('/start')).bytes.equals(CONTENT))
  assert.ok(resumed)
})

test('resume: bytes over the limit count across connections', async () => {
  const endlessPart: Behaviour = (request, socket) => {
    const start = Number(/\d+/.exec(request.headers.range ?? '0')?.[0])
    const range = start === 0 ? {} : { 'content-range': `bytes ${start}-99999999/100000000` }
    socket.write(head(start === 0 ? 200 : 206, { etag: ETAG, 'transfer-encoding': 'chunked', ...range }))
    socket.write(
      Buffer.concat([Buffer.from('80000\r\n'), CONTENT.subarray(0, 512 * KiB), Buffer.from('\r\n')]),
    )
  }
  server.on('/sum', endlessPart)
  await assert.rejects(download('/sum', { sourceSize: MiB }), { category: 'too-large' })
})
