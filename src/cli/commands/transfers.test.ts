import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { answerJson, fakeImage, json, startFakeApi } from '../../../test/support/fake-api.ts'
import { clientSection, openCli } from '../../../test/support/run-cli.ts'

async function open() {
  const api = await startFakeApi()
  const cli = await openCli(clientSection(api.url))
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  api.images.set('img-8yeen', fakeImage('img-8yeen'))
  const file = (name: string) => join(cli.folder, name)
  return { api, cli, file, [Symbol.asyncDispose]: close }
}

const step = (phase: string, percent: number | null, done: number, total: number | null) => ({
  phase,
  percent,
  bytes_done: done,
  bytes_total: total,
  rate: 1048576,
  eta_seconds: 1,
  attempt: 1,
})

const creating = (progress: object | null) =>
  answerJson(fakeImage('img-8yeen', { status: 'creating', progress }))
const REGISTER = ['image', 'register', '-a', 'x86_64', '--url', 'http://h/disk.img']

test('image register --wait: shows each phase as a line and prints the image as it became', async () => {
  await using at = await open()
  at.api.on(
    'GET /1.0/images/img-8yeen',
    creating(step('receiving', 50, 1048576, 2097152)),
    creating(step('saving', 99, 2097152, 2097152)),
    answerJson(fakeImage('img-8yeen')),
  )
  const { out, err, code } = await at.cli.run(...REGISTER, '--wait')
  assert.equal(
    err,
    'Registering img-8yeen: receiving 50%, 1.0 MiB of 2.0 MiB, 1.0 MiB/s, 1s left\n' +
      'Registering img-8yeen: saving 99%, 2.0 MiB of 2.0 MiB, 1.0 MiB/s, 1s left\n',
  )
  assert.match(out, /\n img-8yeen .* private /)
  assert.equal(code, 0)
})

test('image register --wait: a failed registration ends with its code, sentence and hint', async () => {
  await using at = await open()
  const failure = { code: 'source', message: 'the server answered 404', hint: 'check the URL' }
  at.api.on(
    'GET /1.0/images/img-8yeen',
    creating(null),
    answerJson(fakeImage('img-8yeen', { status: 'failed', failure })),
  )
  const { out, err, code } = await at.cli.run(...REGISTER, '--wait')
  assert.equal(
    err,
    'ERROR: register image img-8yeen: the server answered 404 (source)\nHINT: check the URL\n',
  )
  assert.match(out, /\n img-8yeen .* failed /)
  assert.equal(code, 1)
})

test('image wait: outlives a library that restarts, and ends when the image is destroyed', async () => {
  await using at = await open()
  at.api.on(
    'GET /1.0/images/img-8yeen',
    creating(null),
    (_request, response) => void response.destroy(),
    (_request, response) => void response.writeHead(503).end(),
    answerJson(fakeImage('img-8yeen')),
  )
  const { err, code } = await at.cli.run('image', 'wait', 'img-8yeen')
  assert.deepEqual([err, code], ['', 0])
  const gone = (_: unknown, response: ServerResponse) => json(response, 404, { errors: ['gone'] })
  at.api.on('GET /1.0/images/img-8yeen', creating(null), gone)
  const destroyed = await at.cli.run('image', 'wait', 'img-8yeen')
  assert.match(
    destroyed.err,
    /^ERROR: register image img-8yeen: it was destroyed before it became available\n/,
  )
  assert.equal(destroyed.code, 1)
})

test('image wait: Ctrl-C ends the waiting, not the registration', async () => {
  await using at = await open()
  const interrupt = new AbortController()
  at.api.on('GET /1.0/images/img-8yeen', creating(null), (request, response) => {
    interrupt.abort()
    return creating(null)(request, response)
  })
  const { err, code } = await at.cli.runWith({ signal: interrupt.signal }, 'image', 'wait', 'img-8yeen')
  assert.equal(err, 'HINT: the library goes on; brightbox image wait img-8yeen follows it\n')
  assert.equal(code, 130)
})

/** Serves bytes with ranges; drops each connection after the next of `limits` bytes. */
function sender(bytes: Buffer, etag = '"one"', limits: number[] = []) {
  const ranges: string[] = []
  return {
    ranges,
    get(request: IncomingMessage, response: ServerResponse) {
      const { range, 'if-range': ifRange } = request.headers
      ranges.push(`${range ?? ''}${ifRange ? ` if ${ifRange}` : ''}`)
      const offset = range && ifRange === etag ? Number(/=(\d+)-/.exec(range)?.[1]) : 0
      const body = bytes.subarray(offset)
      response.writeHead(offset > 0 ? 206 : 200, {
        ETag: etag,
        'Content-Length': body.length,
        ...(offset > 0 ? { 'Content-Range': `bytes ${offset}-${bytes.length - 1}/${bytes.length}` } : {}),
      })
      const limit = limits.shift()
      if (limit === undefined) response.end(body)
      else response.write(body.subarray(0, limit), () => response.destroy())
    },
  }
}

const DOWNLOAD = 'GET /1.0/images/img-8yeen/download'

test('image download: takes up a dropped connection and leaves only the file', async () => {
  await using at = await open()
  const bytes = randomBytes(3_000_000)
  const source = sender(bytes, '"one"', [1_000_000, 500_000])
  at.api.onRaw(DOWNLOAD, source.get)
  const { out, err, code } = await at.cli.run('image', 'download', 'img-8yeen')
  assert.equal(code, 0, err)
  assert.equal(out, '')
  assert.match(err, /\nDownloaded img-8yeen to img-8yeen\.lz4: 2\.9 MiB as lz4, .*\/s\n$/)
  assert.ok((await readFile(at.file('img-8yeen.lz4'))).equals(bytes))
  assert.deepEqual(source.ranges, ['', 'bytes=1000000- if "one"', 'bytes=1500000- if "one"'])
  assert.ok(at.api.lines.includes(`${DOWNLOAD}?format=lz4`))
  assert.deepEqual(
    (await readdir(at.cli.folder)).filter((name) => name.includes('part')),
    [],
  )
})

test('image download: a later run goes on where one was cut off, or anew when the bytes are others', async () => {
  await using at = await open()
  const bytes = randomBytes(2_000_000)
  const leave = async (etag: string) => {
    await writeFile(at.file('d.part'), bytes.subarray(0, 700_000))
    const of = { source: 'img-8yeen as lz4', etag, size: bytes.length }
    await writeFile(at.file('d.part.json'), JSON.stringify(of))
  }
  const source = sender(bytes)
  at.api.onRaw(DOWNLOAD, source.get)
  await leave('"one"')
  assert.equal((await at.cli.run('image', 'download', 'img-8yeen', '-o', 'd')).code, 0)
  assert.ok((await readFile(at.file('d'))).equals(bytes))
  await leave('"old"')
  assert.equal((await at.cli.run('image', 'download', 'img-8yeen', '-o', 'd', '--force')).code, 0)
  assert.ok((await readFile(at.file('d'))).equals(bytes))
  assert.deepEqual(source.ranges, ['bytes=700000- if "one"', 'bytes=700000- if "old"'])
  await leave('"one"')
  await truncate(at.file('d.part'), bytes.length)
  await at.cli.run('image', 'download', 'img-8yeen', '-o', 'd', '--force')
  assert.equal(source.ranges[2], 'bytes=1999999- if "one"')
})

test('image download: Ctrl-C keeps what is there for the next run', async () => {
  await using at = await open()
  const bytes = randomBytes(1_000_000)
  const interrupt = new AbortController()
  at.api.onRaw(DOWNLOAD, (_request, response) => {
    response.writeHead(200, { ETag: '"one"', 'Content-Length': bytes.length })
    response.write(bytes.subarray(0, 600_000), () => setTimeout(() => interrupt.abort(), 300))
  })
  const line = ['image', 'download', 'img-8yeen', '-o', 'd']
  const first = await at.cli.runWith({ signal: interrupt.signal }, ...line)
  assert.equal(first.code, 130)
  assert.equal((await stat(at.file('d.part'))).size, 600_000)
  const source = sender(bytes)
  at.api.onRaw(DOWNLOAD, source.get)
  assert.equal((await at.cli.run(...line)).code, 0)
  assert.deepEqual(source.ranges, ['bytes=600000- if "one"'])
  assert.ok((await readFile(at.file('d'))).equals(bytes))
})

test('image download: zeros of a raw disk become holes, also the last ones', async () => {
  await using at = await open()
  const bytes = Buffer.alloc(8 * 1024 * 1024)
  randomBytes(1000).copy(bytes, 3_000_000)
  at.api.onRaw(DOWNLOAD, sender(bytes).get)
  await at.cli.run('image', 'download', '--format', 'raw', 'img-8yeen')
  assert.ok((await readFile(at.file('img-8yeen.raw'))).equals(bytes))
  const { size, blocks } = await stat(at.file('img-8yeen.raw'))
  assert.equal(size, bytes.length)
  assert.ok(blocks * 512 < 1024 * 1024, `${blocks} blocks`)
})

test('image download -o -: writes to stdout and survives a break', async () => {
  await using at = await open()
  const text = 'abcdefghij'.repeat(50_000)
  at.api.onRaw(DOWNLOAD, sender(Buffer.from(text), '"one"', [123_456]).get)
  const { out, code } = await at.cli.run('image', 'download', '-o', '-', 'img-8yeen')
  assert.equal(code, 0)
  assert.ok(out === text)
})

test('image download: what cannot be is refused with the rule', async () => {
  await using at = await open()
  at.api.images.set('img-new01', fakeImage('img-new01', { status: 'creating' }))
  await writeFile(at.file('there'), 'precious')
  const refusal = async (...args: string[]) => {
    const { err, code, out } = await at.cli.run('image', 'download', ...args)
    assert.deepEqual([out, code], ['', 1])
    return err.split('\n')[0]
  }
  assert.equal(await refusal(), 'ERROR: You must specify one image to download')
  assert.equal(await refusal('--format', 'vmdk', 'img-8yeen'), 'ERROR: format must be one of lz4, raw, qcow2')
  assert.equal(await refusal('-o', 'there', 'img-8yeen'), 'ERROR: there is there already')
  assert.equal(await refusal('img-gone1'), "ERROR: Couldn't find image img-gone1")
  assert.equal(await refusal('img-new01'), 'ERROR: download image img-new01: it is still being registered')
  at.api.onRaw(DOWNLOAD, sender(Buffer.from('x')).get)
  assert.match(
    String(await refusal('-o', 'no/such/folder', 'img-8yeen')),
    /^ERROR: write no\/such\/folder\.part/,
  )
  assert.equal(await readFile(at.file('there'), 'utf8'), 'precious')
})

test('image download: a library that breaks off at the same byte again is given up on soon, and named', async () => {
  await using at = await open()
  const ends = [50_000, ...Array(20).fill(0)]
  const source = sender(randomBytes(100_000), '"one"', ends)
  at.api.onRaw(DOWNLOAD, source.get)
  const { err, code } = await at.cli.run('image', 'download', 'img-8yeen')
  assert.match(err, /ERROR: download image img-8yeen: the library broke it off after 50000 bytes/)
  assert.match(err, /\nHINT: .*image-library check\n/)
  assert.deepEqual([code, source.ranges.length], [1, 3])
})

test('image download: damage that the library tells of is passed on at once', async () => {
  await using at = await open()
  let count = 0
  at.api.onRaw(DOWNLOAD, (_request, response) => {
    count++
    const errors = ['read block 1234: its bytes have another digest']
    json(response, 500, { error_name: 'stored_data_damaged', errors, hint: 'image-library check says more' })
  })
  const { err, code } = await at.cli.run('image', 'download', 'img-8yeen')
  assert.match(
    err,
    /^ERROR: download image img-8yeen: read block 1234: its bytes have another digest\nHINT: image-library check/m,
  )
  assert.deepEqual([code, count], [1, 1])
})

const event = (sequence: number, action: string) => ({
  id: `evt-0000${sequence}`,
  sequence,
  action,
  message: `${action} happened`,
  created_at: '2022-01-02T03:04:05.000Z',
})

test('image events: lists them', async () => {
  await using at = await open()
  at.api.on('GET /1.0/images/img-8yeen/events', answerJson([event(1, 'image.registered')]))
  const { out } = await at.cli.run('-s', 'image', 'events', 'img-8yeen')
  assert.equal(out, 'evt-00001\t2022-01-02T03:04Z\timage.registered\timage.registered happened\n')
})

test('image events --follow: prints events as they come and goes on after a break', async () => {
  await using at = await open()
  const lastIds: unknown[] = []
  const send = (response: ServerResponse, sequence: number) =>
    response.write(
      `: beat\n\nid: ${sequence}\ndata: ${JSON.stringify(event(sequence, `image.e${sequence}`))}\n\n`,
    )
  at.api.onRaw('GET /1.0/images/img-8yeen/events', (request, response) => {
    lastIds.push(request.headers['last-event-id'])
    assert.equal(request.headers.accept, 'text/event-stream')
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    if (lastIds.length === 1) {
      send(response, 1)
      setTimeout(() => response.destroy(), 50)
    } else {
      send(response, 2)
      response.end()
    }
  })
  const { out, code } = await at.cli.run('image', 'events', '--follow', 'img-8yeen')
  const line = (n: number) => `2022-01-02T03:04Z\timage.e${n}\timage.e${n} happened\n`
  assert.equal(out, line(1) + line(2))
  assert.deepEqual(lastIds, [undefined, '1'])
  assert.equal(code, 0)
})

test('image events: those of a destroyed image are listed, and an unknown one is named', async () => {
  await using at = await open()
  at.api.on('GET /1.0/images/img-gone1/events', answerJson([event(1, 'image.deleted')]))
  assert.match((await at.cli.run('-s', 'image', 'events', 'img-gone1')).out, /image\.deleted/)
  for (const args of [['img-none1'], ['--follow', 'img-none1']]) {
    const { err, code } = await at.cli.run('image', 'events', ...args)
    assert.match(err, /^ERROR: Couldn't find image img-none1\nHINT: /)
    assert.equal(code, 1)
  }
})

test('image register --wait and show: a wait for the next attempt says why', async () => {
  await using at = await open()
  const waiting = {
    ...step('waiting', 0, 0, null),
    rate: null,
    eta_seconds: null,
    attempt: 2,
    message: 'HTTP 503.',
  }
  at.api.on(
    'GET /1.0/images/img-8yeen',
    creating(waiting),
    creating(waiting),
    answerJson(fakeImage('img-8yeen')),
  )
  const { err } = await at.cli.run(...REGISTER, '--wait')
  assert.match(err, /^Registering img-8yeen: waiting 0%, attempt 2: HTTP 503\.\n/)
  at.api.on('GET /1.0/images/img-8yeen', creating(waiting))
  assert.match(
    (await at.cli.run('image', 'show', 'img-8yeen')).out,
    / progress: waiting 0%, attempt 2: HTTP 503\.\n/,
  )
})
