import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { LARGE, type LargeLibrary, type Member, startLargeLibrary } from '../support/large-library.ts'
import { startPostgres, type TestServer } from '../support/postgres.ts'
import { download, register, settled, sha256Of } from '../support/registration.ts'
import { needs } from '../support/tools.ts'

/** A lease of 30 s, the look for one that has run out, and a machine that has much to do. */
const PATIENCE_MS = 100_000

interface EventJson {
  readonly action: string
  readonly resource: { readonly id: string }
}

/** A disk of which half comes at once, and the rest as soon as `release` was called. */
async function startSource() {
  const disk = Buffer.concat([randomBytes(4 * MiB), Buffer.alloc(MiB), randomBytes(512)])
  disk.writeUInt16BE(0x55aa, 510)
  const waiting = new Set<ServerResponse>()
  let isOpen = false
  const server = createServer((_, response) => {
    response.on('error', () => {})
    response.setHeader('content-length', disk.length)
    if (isOpen) return response.end(disk)
    response.write(disk.subarray(0, 2 * MiB))
    waiting.add(response)
    response.once('close', () => waiting.delete(response))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk`,
    sha256: createHash('sha256').update(disk).digest('hex'),
    waiting,
    /** From now on, all of it; and the rest of what waits. */
    release() {
      isOpen = true
      for (const response of waiting) response.end(disk.subarray(2 * MiB))
    },
    hold() {
      isOpen = false
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Lies before a server, and lets through, refuses, or takes and says nothing. */
async function startGate(target: string) {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let state: 'open' | 'refusing' | 'stalling' = 'open'
  const server = createTcpServer((client) => {
    if (state === 'refusing') return client.resetAndDestroy()
    const onward = connect(Number(port), hostname)
    const pass = (from: Socket, to: Socket) =>
      from.on('data', (chunk) => {
        if (state === 'open') to.write(chunk)
      })
    pass(client, onward)
    pass(onward, client)
    for (const [socket, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      sockets.add(socket)
      socket
        .on('error', () => {})
        .once('close', () => {
          sockets.delete(socket)
          other.destroy()
        })
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    set(next: typeof state) {
      state = next
      // What was stalled is lost to both sides.
      if (next !== 'stalling') for (const socket of sockets) socket.destroy()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; !(await isSo()); ) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('faults in a library of many processes', needs(...LARGE), () => {
  let source: Awaited<ReturnType<typeof startSource>>
  let gate: Awaited<ReturnType<typeof startGate>>
  let server: TestServer
  let library: LargeLibrary
  let api: Member
  let other: Member
  before(async () => {
    source = await startSource()
    server = await startPostgres()
    library = await startLargeLibrary({
      server,
      endpoint: async (endpoint) => {
        gate = await startGate(endpoint)
        return gate.url
      },
    })
    api = await library.start('api, orbit')
    other = await library.start('api, orbit')
  })
  after(async () => {
    await library?.[Symbol.asyncDispose]()
    await gate?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
    await source?.[Symbol.asyncDispose]()
  })

  async function assertRight(id: string): Promise<void> {
    const image = await settled(other, id, PATIENCE_MS)
    assert.equal(image.status, 'available', JSON.stringify(image.failure))
    assert.equal(await sha256Of(await download(other, id, 'raw')), source.sha256)
    const { body } = await other.api<EventJson[]>('GET', '/1.0/events')
    const actions = body.filter(({ resource }) => resource.id === id).map(({ action }) => action)
    assert.equal(actions.filter((action) => action === 'image.available').length, 1, actions.join())
  }

  /** So often in this process an attempt ended in that way. */
  async function attempts(member: Member, outcome: string): Promise<number> {
    const address = /Metrics are on (\S+)/.exec(member.output())?.[1] ?? ''
    const text = await (await fetch(address)).text()
    const line = text.split('\n').find((line) => line.includes('attempts') && line.includes(`"${outcome}"`))
    return Number(line?.split(' ').at(-1) ?? 0)
  }

  test('a worker that is killed, and one that stands still, are replaced; the latter publishes nothing', async () => {
    // The last place of a process goes to an account that has nothing running: each takes one.
    const worker = () =>
      library.start('worker', { 'registrations.concurrent': '2', 'metrics.listen': '127.0.0.1:0' })
    const still = await worker()
    const one = await register(api, source.url)
    await until('the first is received', () => source.waiting.size === 1)
    const dying = await worker()
    const two = await register(api, source.url)
    await until('the second is received', () => source.waiting.size === 2)
    await dying.end('SIGKILL')
    still.process.kill('SIGSTOP')
    source.release()
    await worker()
    await Promise.all([assertRight(one.id), assertRight(two.id)])
    still.process.kill('SIGCONT')
    await until('it knows that it lost the job', async () => (await attempts(still, 'lost')) > 0)
    await assertRight(one.id)
  })

  test('a database that starts anew in the middle', async () => {
    source.hold()
    const { id } = await register(api, source.url)
    await until('it is received', () => source.waiting.size === 1)
    server.restart()
    const statuses = new Set<number>()
    const asking = (async () => {
      for (let count = 0; count < 20; count++)
        statuses.add((await other.api('GET', `/1.0/images/${id}`)).status)
    })()
    source.release()
    await asking
    assert.ok(
      [...statuses].every((status) => [200, 503].includes(status)),
      [...statuses].join(),
    )
    await assertRight(id)
  })

  test('a store that refuses, and stalls, for a while', async () => {
    const before = await register(api, source.url)
    await assertRight(before.id)
    for (const state of ['refusing', 'stalling'] as const) {
      gate.set(state)
      const { id } = await register(api, source.url)
      // No worker begins with what it could not store.
      await until('it is known', async () => (await fetch(`${api.url}/readyz`)).status === 503)
      gate.set('open')
      await assertRight(id)
    }
  })

  test('a process that is killed under load: what it acknowledged is there, and a retry works elsewhere', async () => {
    const victim = await library.start('api, orbit')
    const acknowledged: string[] = []
    const failures: unknown[] = []
    let isOver = false
    const clients = Array.from({ length: 8 }, async (_, client) => {
      for (let count = 0; !isOver; count++) {
        const name = `${client}-${count}`
        const put = (member: Member) =>
          member.api<{ id: string }>('POST', '/1.0/images', { arch: 'x86_64', upload: true, name })
        try {
          const { status, body } = await put(victim)
          if (status === 201) acknowledged.push(body.id)
          else assert.ok([409, 503].includes(status), `${status}`)
        } catch (error) {
          failures.push(error)
          // At most eight uploads may be open.
          const again = await put(other)
          assert.ok([201, 409].includes(again.status), `${again.status} ${JSON.stringify(again.body)}`)
          return
        }
      }
    })
    await until('some are acknowledged', () => acknowledged.length >= 3)
    await victim.end('SIGKILL')
    const ended = Promise.all(clients)
    await Promise.race([ended, until('all have noticed', () => failures.length === clients.length)]).finally(
      () => {
        isOver = true
      },
    )
    await ended
    for (const id of acknowledged) assert.equal((await other.api('GET', `/1.0/images/${id}`)).status, 200)
    for (const error of failures) assert.match(String(error), /fetch failed|terminated|aborted/)
  })

  test('nothing is damaged or missing at the end of all that', async () => {
    await library.command('check')
  })
})
