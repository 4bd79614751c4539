import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { openCatalog } from '#control/catalog/catalog.ts'
import { REGISTRATION } from '#control/library/deps.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { libraryPlaceAt } from '../support/library-place.ts'
import { firstUser, send } from '../support/orbit.ts'
import { register, settled } from '../support/registration.ts'
import { silent, startWebServer, status, type WebServer } from '../support/web-server.ts'

interface Line {
  readonly level: number
  readonly msg: string
  readonly reqId?: string
  readonly job?: string
  readonly image?: string
}

/** All of an SDK that this needs: it says which spans end. */
const SDK = `
import { trace } from '${import.meta.resolve('@opentelemetry/api')}'
const chain = (name) => new Proxy({}, {
  get: (_, key) => {
    if (key === 'spanContext') return () => ({ traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags: 1 })
    return key === 'end' ? () => process.stderr.write('span ' + name + '.\\n') : () => undefined
  },
})
trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan: chain }) })
`

const linesOf = (daemon: Daemon): Line[] =>
  daemon
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, what)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('a stop', () => {
  let daemon: Daemon
  let web: WebServer
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'drain-'))
    await writeFile(join(folder, 'sdk.mjs'), SDK)
    web = await startWebServer()
    web.on('/page', status(200, {}, '<!DOCTYPE html><html><body>log in</body></html>'.repeat(40)))
    web.on('/silent', silent)
    daemon = await startDaemon({
      settings: { 'http.notice_time': '4 s', 'http.drain_time': '20 s' },
      environment: { NODE_OPTIONS: `--import ${pathToFileURL(join(folder, 'sdk.mjs'))}` },
    })
  })
  after(async () => {
    await daemon[Symbol.asyncDispose]()
    await web[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  test('lines of the log name the request or the job on whose behalf they are', async () => {
    const reqId = 'my-own-request-1'
    const answer = await send('GET', `${daemon.url}/1.0/images`, {
      headers: { 'x-request-id': reqId, authorization: `Bearer ${daemon.token}` },
    })
    assert.equal(answer.headers['x-request-id'], reqId)
    await until('its line', () =>
      linesOf(daemon).some((line) => line.reqId === reqId && line.msg === 'request'),
    )
    const owner = await firstUser(daemon)
    const { headers } = await owner.send('GET', '')
    const transId = String(headers['x-trans-id'])
    await until('the line of Orbit', () => linesOf(daemon).some((line) => line.reqId === transId))
    const { id } = await register(daemon, web.url('/page'))
    assert.equal((await settled(daemon, id)).status, 'failed')
    await until('the line of the job', () => linesOf(daemon).some((line) => line.msg === 'refused'))
    const refused = linesOf(daemon).find((line) => line.msg === 'refused')
    assert.equal(refused?.image, id)
    assert.match(refused?.job ?? '', /^job-/)
    assert.equal(refused?.reqId, undefined, 'whose request it was that woke the worker means nothing')
  })

  test('spans go to the SDK that the operator loads, with no setting of ours', async () => {
    await until('spans of what the test before did', () =>
      ['GET api', 'GET orbit', 'registration', 'registration connecting'].every((name) =>
        daemon.output().includes(`span ${name}.\n`),
      ),
    )
  })

  test('SIGTERM: not ready first, jobs given back at once, connections closed, requests under way end', async () => {
    const { id } = await register(daemon, web.url('/silent'))
    await using catalog = await openCatalog((await libraryPlaceAt(daemon.data)).catalog)
    const job = await catalog.jobs.find(REGISTRATION, id)
    const holder = async () => (await catalog.jobs.listOwners([job?.id ?? '']))[0]?.owner
    await until('the job is held', async () => typeof (await holder()) === 'string')
    const owner = await firstUser(daemon)
    assert.equal((await owner.send('PUT', '/box')).status, 201)
    // A request that is half-way when the signal comes.
    const { hostname, port, pathname } = new URL(`${owner.storage}/box/object`)
    const slow = request({
      ...{ method: 'PUT', hostname, port, path: pathname },
      headers: { 'x-auth-token': owner.token, 'content-length': 20 },
    })
    slow.write('ten bytes.')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const before = await send('GET', `${daemon.url}/readyz`, { agent })
    assert.deepEqual([before.status, before.headers.connection], [200, 'keep-alive'])

    const exited = once(daemon.process, 'exit')
    daemon.process.kill('SIGTERM')
    let closing = before
    await until('it is not ready', async () => {
      closing = await send('GET', `${daemon.url}/readyz`, { agent })
      return closing.status === 503
    })
    assert.equal(closing.headers.connection, 'close')
    assert.deepEqual(JSON.parse(closing.text).errors, ['the library is stopping'])
    assert.equal((await send('GET', `${daemon.url}/healthz`)).status, 200, 'it lives')
    await until('the job is given back', async () => (await holder()) === null)
    assert.equal(daemon.process.exitCode, null, 'before it has ended')
    slow.end('ten bytes.')
    const [response] = await once(slow, 'response')
    await buffer(response)
    assert.equal(response.statusCode, 201)
    assert.deepEqual(await exited, [0, null], daemon.output())
  })
})
