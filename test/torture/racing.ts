import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import type { Attack, Round } from './attack.ts'

const KiB = 1024
const CLIENTS = 100
/** How often the catalog is looked at while clients race. */
const LOOK_MS = 5
/** For one answer, on a machine that has much else to do. */
const PATIENCE_MS = 60_000

/** Clients race for one account's quota, by every way in: what is there never exceeds it, and all of it can be used. */
export const racing: Attack = {
  name: 'racing',
  async run(round) {
    const quota = 3 * 1024 * KiB + Math.floor(round.random() * 4096 * KiB)
    const settings = {
      'accounts.quota': String(quota),
      'registrations.uploads_per_account': '1000',
      'registrations.per_account': '8',
      'registrations.concurrent': '9',
    }
    await using daemon = await startDaemon({ settings })
    await using source = await startSource(round)
    const race = new Race({ round, daemon, quota, sourceUrl: source.url })
    using _idle = await openIdle(daemon, 300)
    await race.call('PUT', `${race.orbit}/c`)
    await race.equals('objects', CLIENTS, (n, size) => race.put(`o${n}`, size))
    await race.equals('uploads', round.short ? 8 : 20, (_, size) => race.upload(size))
    await race.equals('registrations', round.short ? 6 : 16, (_, size) => race.register(size))
    do await race.mixture(round.short ? 40 : 5 * CLIENTS)
    while (!round.short && !round.signal.aborted && round.random() < 0.9)
  },
}

interface RaceDeps {
  readonly round: Round
  readonly daemon: Daemon
  readonly quota: number
  readonly sourceUrl: string
}

class Race {
  readonly #deps: RaceDeps
  readonly orbit: string
  readonly #catalog: DatabaseSync

  constructor(deps: RaceDeps) {
    this.#deps = deps
    this.#catalog = new DatabaseSync(join(deps.daemon.data, 'catalog.sqlite'), { readOnly: true })
    const [account] = this.#catalog.prepare('select id from accounts').all()
    this.orbit = `/v1/${account?.id}`
  }

  /** Of clients that want the same, exactly as many win as there is room for. */
  async equals(what: string, clients: number, one: (n: number, size: number) => Promise<boolean>) {
    const { round, quota } = this.#deps
    // Whole sectors, to which disks are padded.
    const size = Math.floor((quota / (2 + Math.floor(round.random() * 4)) - round.random() * KiB) / 512) * 512
    const won = await this.#watched(Array.from({ length: clients }, (_, n) => one(n, size)))
    round.count('racing clients', clients)
    const room = Math.floor(quota / size)
    assert.equal(
      won.filter(Boolean).length,
      room,
      `${what} of ${size} bytes that ${quota} bytes had room for`,
    )
    await this.#clear()
  }

  /** Everything at once, some of which breaks off. */
  async mixture(clients: number) {
    const { round, quota } = this.#deps
    const one = async (n: number) => {
      await delay(round.random() * 500)
      const size = Math.floor(round.random() ** 2 * quota)
      const way = round.random()
      if (way < 0.4)
        await this.put(`o${n % 9}`, size, { isCut: round.random() < 0.3, isLong: round.random() < 0.3 })
      else if (way < 0.55) await this.call('DELETE', `${this.orbit}/c/o${n % 9}`)
      else if (way < 0.65) await this.call('COPY', `${this.orbit}/c/o${n % 9}`, { destination: `c/o${n}` })
      // A few bytes may look like a text, which is no disk.
      else if (way < 0.85) await this.upload(Math.max(4 * KiB, size), round.random() < 0.3)
      else await this.register(size, round.random() < 0.5 ? 'chunked' : 'cut')
    }
    await this.#watched(Array.from({ length: clients }, (_, n) => one(n)))
    round.count('racing clients', clients)
    await this.#clear()
  }

  async put(name: string, size: number, { isCut = false, isLong = false } = {}): Promise<boolean> {
    const status = await this.call('PUT', `${this.orbit}/c/${name}`, {}, { size, isCut, isLong })
    if (!isCut) assert.ok([201, 413].includes(status), `a PUT of ${size} bytes: ${status}`)
    return status === 201
  }

  async upload(size: number, isCut = false): Promise<boolean> {
    const { status, body } = await this.#api('POST', '/1.0/images', { arch: 'x86_64', upload: true })
    if (status === 403) return false
    assert.equal(status, 201, JSON.stringify(body))
    this.#deps.round.count('registrations')
    const sent = await this.call('PUT', `/1.0/images/${body.id}/upload`, {}, { size, isCut })
    if (sent !== 202) {
      await this.#api('DELETE', `/1.0/images/${body.id}`)
      return false
    }
    return (await this.#settled(body.id)) === 'available'
  }

  async register(size: number, how = 'whole'): Promise<boolean> {
    const url = `${this.#deps.sourceUrl}/${how}/${Math.max(512, size)}`
    const { status, body } = await this.#api('POST', '/1.0/images', { arch: 'x86_64', http_url: url })
    if (status === 403) return false
    assert.equal(status, 201, JSON.stringify(body))
    this.#deps.round.count('registrations')
    if (how === 'cut') {
      await delay(this.#deps.round.random() * 1000)
      await this.#api('DELETE', `/1.0/images/${body.id}`)
      return false
    }
    return (await this.#settled(body.id)) === 'available'
  }

  /** @returns the status; 0 where the connection was cut */
  call(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    { size = 0, isCut = false, isLong = false } = {},
  ): Promise<number> {
    const { url, token } = this.#deps.daemon
    const length: Record<string, string | number> = isLong
      ? { 'transfer-encoding': 'chunked' }
      : { 'content-length': size }
    const body = bytesOf(this.#deps.round, isCut ? Math.floor(size / 2) : size)
    return new Promise((resolve, reject) => {
      const sending = request(`${url}${path}`, {
        method,
        agent: false,
        timeout: PATIENCE_MS,
        headers: { authorization: `Bearer ${token}`, 'x-auth-token': token, ...length, ...headers },
      })
      sending.on('response', (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      })
      sending.on('timeout', () => reject(new assert.AssertionError({ message: `${method} ${path} hangs` })))
      // A refusal may come, and the connection end, before all bytes were taken.
      sending.on('error', () => setImmediate(() => resolve(isCut ? 0 : 413)))
      if (isCut) sending.write(body, () => sending.destroy())
      else sending.end(body)
    })
  }

  async #api(method: string, path: string, body?: unknown) {
    return this.#deps.daemon.api<{ id: string; status: string; failure: { code: string } | null }>(
      method,
      path,
      body,
    )
  }

  async #settled(id: string): Promise<string> {
    const end = Date.now() + PATIENCE_MS
    for (;;) {
      const { body } = await this.#api('GET', `/1.0/images/${id}`)
      if (body.status === 'failed') assert.equal(body.failure?.code, 'quota', JSON.stringify(body))
      if (body.status !== 'creating') return body.status === 'private' ? 'available' : body.status
      assert.ok(Date.now() < end, `image ${id} is stuck`)
      await delay(50)
    }
  }

  /** Waits for all, and looks at what there is meanwhile. */
  async #watched<T>(work: readonly Promise<T>[]): Promise<T[]> {
    const all = Promise.all(work)
    let isOver = false
    const end = () => {
      isOver = true
    }
    all.then(end, end)
    for (; !isOver; await delay(LOOK_MS)) this.#check()
    this.#check()
    return all
  }

  #check(): void {
    const used = this.#catalog
      .prepare(
        `select (select sum(bytes_used) from accounts)
          + (select coalesce(sum(data_size), 0) from images where status in ('available', 'deprecated')) as used`,
      )
      .get()?.used
    assert.ok(Number(used) <= this.#deps.quota, `${used} bytes are there, the quota is ${this.#deps.quota}`)
  }

  /** Removes everything; then all of the quota can be used, and not a byte more. */
  async #clear(): Promise<void> {
    const { daemon, quota } = this.#deps
    const images = (await daemon.api<{ id: string; status: string }[]>('GET', '/1.0/images')).body
    await Promise.all(images.map(({ id }) => this.#api('DELETE', `/1.0/images/${id}`)))
    const names = await fetch(`${daemon.url}${this.orbit}/c`, { headers: { 'x-auth-token': daemon.token } })
    const listed = (await names.text()).split('\n').filter(Boolean)
    await Promise.all(listed.map((name) => this.call('DELETE', `${this.orbit}/c/${name}`)))
    // Connections that were cut, and registrations that were stopped, end in a moment.
    const end = Date.now() + PATIENCE_MS
    while (!(await this.put('all', quota))) {
      assert.ok(Date.now() < end, `all is gone, but there is no room for ${quota} bytes`)
      await delay(100)
    }
    assert.equal(await this.put('more', 1), false, 'a byte more than the quota')
    await this.call('DELETE', `${this.orbit}/c/all`)
  }
}

/** No signature of anything, and no text. */
const bytesOf = ({ random }: Round, size: number): Buffer =>
  Buffer.alloc(size, 0x80 + Math.floor(random() * 0x40))

/** Serves `/HOW/SIZE`: that many bytes, whose number is hidden where it says `chunked`. */
async function startSource(round: Round) {
  const server = createServer((incoming, response) => {
    const [, how, size] = (incoming.url ?? '').split('/')
    if (how !== 'chunked') response.setHeader('content-length', Number(size))
    response.on('error', () => {})
    response.write(bytesOf(round, Number(size)))
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Connections that ask for half of something and wait. */
async function openIdle({ url }: Daemon, count: number): Promise<Disposable> {
  const { port, hostname } = new URL(url)
  const sockets = Array.from({ length: count }, () => connect(Number(port), hostname))
  for (const socket of sockets) {
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nX-Slow: ')
  }
  return { [Symbol.dispose]: () => sockets.forEach((socket) => void socket.destroy()) }
}
