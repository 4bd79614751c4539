import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { firstUser, type OrbitUser } from '../support/orbit.ts'

const UPLOADS = 40
const CLIENTS = 100
const MiB = 1024 * 1024

/** Clients that hold memory at their own pace: there are so many of them, and the rest are told to come back. */
describe('slow uploads', () => {
  let daemon: Daemon
  let owner: OrbitUser
  const opened: Socket[] = []
  before(async () => {
    daemon = await startDaemon({ settings: { 'orbit.uploads': String(UPLOADS) } })
    owner = await firstUser(daemon)
    await owner.send('PUT', '/c')
    await owner.send('PUT', '/c/warm', { body: randomBytes(4 * MiB) })
  })
  after(async () => {
    for (const socket of opened) socket.destroy()
    await daemon[Symbol.asyncDispose]()
  })

  const residentMiB = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.process.pid}/status`, 'utf8'))?.[1]) / 1024

  /** Begins a request and sends some of its body. */
  async function begin(line: string, length: string, body: Uint8Array) {
    const socket = connect(Number(new URL(daemon.url).port), '127.0.0.1')
    opened.push(socket)
    const client = { socket, answer: '' }
    socket
      .on('error', () => {})
      .on('data', (data) => {
        client.answer += data
      })
    await once(socket, 'connect')
    const path = new URL(owner.storage).pathname
    socket.write(
      `${line.replace('/', `${path}/`)} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${owner.token}\r\n${length}\r\n\r\n`,
    )
    socket.write(body)
    return client
  }
  const until = async (holds: () => boolean) => {
    while (!holds()) await delay(20)
  }
  const isRefused = ({ answer }: { answer: string }) =>
    /^HTTP\/1\.1 503 [\s\S]*\nRetry-After: 5\r\n/i.test(answer)

  test('of one account are half of those that there may be, and the rest hold no memory', async () => {
    const before = residentMiB()
    const bytes = randomBytes(MiB - 100)
    const clients = await Promise.all(
      Array.from({ length: CLIENTS }, (_, n) =>
        n % 2 === 0
          ? begin(`PUT /c/slow${n}`, 'Content-Length: 3000000', bytes)
          : begin(
              `PUT /c/slow${n}`,
              'Transfer-Encoding: chunked',
              Buffer.concat([Buffer.from('2fffff\r\n'), bytes]),
            ),
      ),
    )
    await until(() => clients.filter(isRefused).length === CLIENTS - UPLOADS / 2)
    const grown = residentMiB() - before
    assert.ok(grown < 100, `${CLIENTS} slow uploads took ${grown} MiB`)
    assert.match(clients.find(isRefused)?.answer ?? '', /too many uploads are under way/)
    assert.equal((await owner.send('PUT', '/c/small', { body: 'small' })).status, 201)
    assert.equal((await owner.send('PUT', '/c/large', { body: bytes })).status, 503)
    for (const { socket } of clients) socket.destroy()
    while ((await owner.send('PUT', '/c/large', { body: bytes })).status !== 201) await delay(20)
    assert.doesNotMatch(daemon.output(), /request failed|unhandled/i)
  })

  test('of long lists hold no more memory than lists may together', async () => {
    const before = residentMiB()
    const names = Buffer.from(`${'x'.repeat(3000)}\n`.repeat(2000))
    const clients = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        begin(
          n % 2 === 0 ? 'POST /?bulk-delete' : 'PUT /c/l?multipart-manifest=put',
          'Content-Length: 7000000',
          names,
        ),
      ),
    )
    await until(() => clients.filter(isRefused).length >= 15)
    const grown = residentMiB() - before
    assert.ok(grown < 200, `30 lists of 6 MB took ${grown} MiB`)
    assert.match(clients.find(isRefused)?.answer ?? '', /too many long lists are under way/)
    for (const { socket } of clients) socket.destroy()
    while ((await owner.send('POST', '?bulk-delete', { body: names })).status !== 200) await delay(20)
  })
})
