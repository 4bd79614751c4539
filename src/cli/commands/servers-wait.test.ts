import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'
import { answerJson, fakeImage, problem, startFakeApi } from '../../../test/support/fake-api.ts'
import { fakeServer, fakeVolume } from '../../../test/support/fake-api-servers.ts'
import { BRIGHTBOX, clientSection, openCli } from '../../../test/support/run-cli.ts'
import { needs } from '../../../test/support/tools.ts'

async function open() {
  const api = await startFakeApi()
  const cli = await openCli(clientSection(api.url))
  api.images.set('img-8yeen', fakeImage('img-8yeen', { name: 'arch-latest' }))
  const close = async () => {
    await cli[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  }
  return { api, cli, [Symbol.asyncDispose]: close }
}

const creating = fakeServer('srv-8gbi6', { status: 'creating' })
const trouble = { message: 'There is no memory for it.', hint: 'Stop another server.' }

test('server create --wait: prints the server once it runs, and what stood in its way until then', async () => {
  await using at = await open()
  at.api.on('POST /1.0/servers', answerJson(creating, 202))
  const held = answerJson({ ...creating, trouble })
  at.api.on('GET /1.0/servers/srv-8gbi6', held, held, answerJson(fakeServer('srv-8gbi6')))
  const { out, err, code } = await at.cli.run('-s', 'server', 'create', '--wait', 'img-8yeen')
  assert.match(out, /^srv-8gbi6\tactive\t/)
  assert.match(err, /^Creating a .*\nWARN: srv-8gbi6: There is no memory for it\.\n$/)
  assert.equal(code, 0)
})

test('server wait: a build that failed is an error with its reason and hint', async () => {
  await using at = await open()
  const failed = fakeServer('srv-8gbi6', { status: 'failed', trouble })
  at.api.on('GET /1.0/servers/srv-8gbi6', answerJson(creating), answerJson(failed))
  const { out, err, code } = await at.cli.run('-s', 'server', 'wait', 'srv-8gbi6')
  assert.match(out, /^srv-8gbi6\tfailed\t/)
  assert.equal(err, 'ERROR: build server srv-8gbi6: There is no memory for it\nHINT: Stop another server.\n')
  assert.equal(code, 1)
})

test('server wait: a library that restarts meanwhile is waited for', async () => {
  await using at = await open()
  const busy = problem(503, 'unavailable', 'starting')
  at.api.on(
    'GET /1.0/servers/srv-8gbi6',
    answerJson(creating),
    busy,
    busy,
    answerJson(fakeServer('srv-8gbi6')),
  )
  const { out, code } = await at.cli.run('-s', 'server', 'wait', 'srv-8gbi6')
  assert.match(out, /^srv-8gbi6\tactive\t/)
  assert.equal(code, 0)
})

test('server wait: a server that is destroyed meanwhile is an error', async () => {
  await using at = await open()
  const gone = fakeServer('srv-8gbi6', { status: 'deleted' })
  at.api.on('GET /1.0/servers/srv-8gbi6', answerJson(creating), answerJson(gone))
  const { err, code } = await at.cli.run('server', 'wait', 'srv-8gbi6')
  assert.deepEqual([err, code], ['ERROR: build server srv-8gbi6: it is deleted\n', 1])
})

test('server snapshot --wait: prints the image once it is available, or why there is none', async () => {
  await using at = await open()
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  const image = fakeImage('img-snap1', { source_type: 'snapshot', name: 'Snapshot of srv-8gbi6' })
  const under = answerJson({ ...image, status: 'creating' })
  at.api.on('GET /1.0/images/img-snap1', under, under, answerJson(image))
  const { out, err, code } = await at.cli.run('-s', 'server', 'snapshot', '--wait', 'srv-8gbi6')
  assert.match(out, /^img-snap1\tacc-12345\tsnapshot\t2022-01-02\tprivate\t/)
  assert.deepEqual([err, code], ['Snapshotting server srv-8gbi6\n', 0])
  const failure = { code: 'too-large', message: 'The snapshot has too much data.', hint: 'Delete something.' }
  at.api.on('GET /1.0/images/img-snap1', answerJson({ ...image, status: 'failed', failure }))
  const failed = await at.cli.run('server', 'snapshot', '--wait', 'srv-8gbi6')
  assert.match(
    failed.err,
    /\nERROR: register image img-snap1: The snapshot has too much data \(too-large\)\n/,
  )
  assert.equal(failed.code, 1)
})

test('server snapshot: an answer that names no image is an error', async () => {
  await using at = await open()
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  at.api.on('POST /1.0/servers/srv-8gbi6/snapshot', answerJson(fakeServer('srv-8gbi6'), 202))
  const { err, code } = await at.cli.run('server', 'snapshot', '--wait', 'srv-8gbi6')
  assert.match(err, /\nERROR: snapshot server srv-8gbi6: the library did not say which image it makes\n/)
  assert.equal(code, 1)
})

test('server activate_console: prints URL, token and local time, uncut however narrow the terminal', async () => {
  await using at = await open()
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  const env = { COLUMNS: '40', LINES: '20', TZ: 'Asia/Kolkata' }
  const { out, err } = await at.cli.runWith({ env }, 'server', 'activate_console', 'srv-8gbi6')
  assert.equal(err, 'Activating console for server srv-8gbi6\n')
  const [, header, , row] = out.split('\n')
  assert.match(header ?? '', /^ url +token +expires +$/)
  const url = `${at.api.url}/console/srv-8gbi6?password=a-token`
  assert.equal(row, ` ${url}  a-token  2023-01-03 18:53:00 +0530`)
})

test('server activate_console: a server that does not run has no console', async () => {
  await using at = await open()
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  const conflict = problem(409, 'resource_conflict', 'the server is inactive')
  at.api.on('POST /1.0/servers/srv-8gbi6/activate_console', conflict)
  const { out, err, code } = await at.cli.run('server', 'console', 'srv-8gbi6')
  assert.match(err, /^ERROR: activate the console of server srv-8gbi6: the server is inactive\n/)
  assert.deepEqual([out, code], ['', 1])
})

/** A console that a test plays the guest of. */
async function openConsole(guest: (socket: WebSocket, request: IncomingMessage) => void) {
  const http = createServer((_request, response) => response.writeHead(404).end())
  const sockets = new WebSocketServer({ server: http })
  sockets.on('connection', guest)
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/console/srv-8gbi6`
  const answer = fakeServer('srv-8gbi6', {
    console_url: url,
    console_token: 'a-token',
    console_token_expires: '2023-01-03T13:23:00Z',
  })
  const close = async () => {
    for (const socket of sockets.clients) socket.terminate()
    http.close()
    await once(http, 'close')
  }
  return { answer, [Symbol.asyncDispose]: close }
}

test('server console: what goes in on stdin reaches the guest, what it says comes out', async () => {
  await using at = await open()
  let seen = ''
  let asked: unknown
  await using console = await openConsole((socket, request) => {
    asked = [request.url, request.headers['sec-websocket-protocol']]
    socket.send(Buffer.from('login: '))
    socket.on('message', (data) => {
      seen += data.toString()
      if (seen.endsWith('\n')) socket.close(1000, 'the server stopped')
    })
  })
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  at.api.on('POST /1.0/servers/srv-8gbi6/activate_console', answerJson(console.answer, 202))
  const { out, err, code } = await at.cli.runWith({ stdin: 'root\n' }, 'server', 'console', 'srv-8gbi6')
  assert.equal(seen, 'root\n')
  assert.deepEqual(asked, ['/console/srv-8gbi6/serial', 'binary, token.a-token'])
  assert.deepEqual([out, code], ['login: ', 0])
  assert.equal(
    err,
    'Attached to the serial console of srv-8gbi6. Ctrl-] leaves it.\nThe console ended: the server stopped.\n',
  )
})

test(
  'server console: a terminal is raw until Ctrl-] is pressed, and then as before',
  needs('python3'),
  async () => {
    await using at = await open()
    let seen = ''
    await using console = await openConsole((socket) => {
      socket.on('message', (data) => {
        seen += data.toString()
        socket.send(data)
      })
      socket.send(Buffer.from('login: '))
    })
    at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
    at.api.on('POST /1.0/servers/srv-8gbi6/activate_console', answerJson(console.answer, 202))
    const terminal = [
      'import pty, sys',
      'pty.spawn(["sh", "-c", sys.argv[1] + "; echo code $?; stty -a | grep -o .icanon"])',
    ].join('\n')
    const command = `${BRIGHTBOX} server console srv-8gbi6`
    const env = { ...process.env, BRIGHTBOX_CONFIG: at.cli.configPath }
    const child = spawn('python3', ['-c', terminal, command], { env, stdio: ['pipe', 'pipe', 'inherit'] })
    let out = ''
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      const before = out
      out += chunk
      if (!before.includes('login: ') && out.includes('login: ')) child.stdin.write('ls\x03\r')
      if (!before.includes('ls\x03') && out.includes('ls\x03')) child.stdin.end('bye\x1dlost')
    }
    assert.equal(seen, 'ls\x03\rbye')
    assert.match(out, /Left the console; the server runs on\.\r\ncode 0\r\n icanon\r\n$/)
  },
)

test('server console: an interruption ends it with 130', async () => {
  await using at = await open()
  const interrupt = new AbortController()
  await using console = await openConsole(() => interrupt.abort())
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  at.api.on('POST /1.0/servers/srv-8gbi6/activate_console', answerJson(console.answer, 202))
  const run = { signal: interrupt.signal }
  assert.equal((await at.cli.runWith(run, 'server', 'console', 'srv-8gbi6')).code, 130)
})

test('server console: one that does not open is an error with a hint', async () => {
  await using at = await open()
  at.api.servers.set('srv-8gbi6', fakeServer('srv-8gbi6'))
  const { err, code } = await at.cli.run('server', 'console', 'srv-8gbi6')
  assert.match(err, /^ERROR: attach to the console of server srv-8gbi6: the library did not open it\nHINT: /)
  assert.equal(code, 1)
})

test('volumes: lists and shows them as the official client does, with the fill at the end', async () => {
  await using at = await open()
  const more = { image: { id: 'img-8yeen' }, server: { id: 'srv-8gbi6' }, zone: { id: 'zon-aaaaa' } }
  const young = { ...more, created_at: '2023-01-04T00:00:00Z', name: 'young' }
  at.api.volumes.set('vol-22222', fakeVolume('vol-22222', young))
  at.api.volumes.set('vol-11111', fakeVolume('vol-11111', more))
  const list = await at.cli.run('volume')
  assert.equal(
    list.out,
    `
 id         type   size   status    server     boot  name 
-----------------------------------------------------------
 vol-11111  local  30720  attached  srv-8gbi6  true       
 vol-22222  local  30720  attached  srv-8gbi6  true  young
-----------------------------------------------------------

`,
  )
  const show = await at.cli.run('-s', 'volumes', 'show', 'vol-11111')
  assert.equal(
    show.out,
    'id\tvol-11111\nname\t\ndescription\t\ntype\tlocal\nsize\t30720\nstatus\tattached\n' +
      'created_at\t2023-01-03T13:08Z\nencrypted\tfalse\nserial\tvol-11111\nlocked\tfalse\nfilesystem_label\t\n' +
      'filesystem_type\t\nimage\timg-8yeen\nsource\timg-8yeen\nsource_type\timage\nserver\tsrv-8gbi6\nboot\ttrue\n' +
      'delete_with_server\ttrue\nzone\tzon-aaaaa\nfill\t50%, 1.0 GiB of 2.0 GiB\n',
  )
  assert.deepEqual(at.api.lines, ['GET /1.0/volumes', 'GET /1.0/volumes/vol-11111'])
})

test('volumes: those that are not there are warnings, and none at all is an error', async () => {
  await using at = await open()
  const { err, code } = await at.cli.run('volumes', 'show', 'vol-gone1')
  assert.equal(err, "WARN: Couldn't find volume vol-gone1\nERROR: read volumes: none of these exists\n")
  assert.equal(code, 1)
})

test('types and zones: list and show as the official client', async () => {
  await using at = await open()
  const types = await at.cli.run('type')
  assert.match(types.out, /^\n id +name +handle +ram +disk +cores\n/)
  assert.match(types.out, /typ-w0hf9 .*\n typ-2gssd/)
  const shown = await at.cli.run('-s', 'types', 'show', 'typ-w0hf9')
  assert.equal(
    shown.out,
    'id\ttyp-w0hf9\nhandle\t1gb.ssd\nstatus\tavailable\nname\tSSD 1GB\nram\t1024\ndisk\t30720\ncores\t2\n',
  )
  const zones = await at.cli.run('-s', 'zones')
  assert.equal(zones.out, 'zon-aaaaa\tgb1-a\nzon-bbbbb\tgb1-b\n')
  assert.equal((await at.cli.run('-s', 'zones', 'show', 'zon-bbbbb')).out, 'id\tzon-bbbbb\nhandle\tgb1-b\n')
})
