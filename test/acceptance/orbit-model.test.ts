import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { libraryAt, listStored } from '../support/library-place.ts'
import { type Answer, firstUser, type OrbitUser } from '../support/orbit.ts'
import {
  bytesOf,
  mayBeGone,
  mayStand,
  ObjectModel,
  type Version,
  type Window,
} from '../support/orbit-model.ts'
import { createRandom } from '../support/random-disk.ts'
import { execute } from '../support/registration.ts'

const CLIENTS = 8
const STEPS = Number(process.env.MODEL_STEPS ?? 120)
const seed = Number(process.env.MODEL_SEED ?? randomInt(2 ** 31))
const CONTAINERS = ['one', 'two']
const NAMES = ['a', 'a/b', 'a/b/c', 'a0', 'b', 'z', 'ü', '\u{10000}'].map(encodeURIComponent)
const PATHS = CONTAINERS.flatMap((container) => NAMES.map((name) => `/${container}/${name}`))
/** Around the borders between what is kept in the catalog, in one block, and in several. */
const SIZES = [0, 1, 5000, 16_384, 16_385, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2_500_000]

interface Row {
  readonly name: string
  readonly hash: string
  readonly bytes: number
}

const pick = <T>(from: readonly T[], random: () => number): T => from[Math.floor(random() * from.length)] as T

describe('Orbit against a model', () => {
  const model = new ObjectModel()
  const agent = new Agent({ keepAlive: true })
  let data: string
  let daemon: Daemon
  let owner: OrbitUser
  before(async () => {
    data = await mkdtemp(join(tmpdir(), 'orbit-model-'))
    daemon = await startDaemon({ data })
    owner = await firstUser(daemon)
    for (const container of CONTAINERS) await owner.send('PUT', `/${container}`)
  })
  after(async () => {
    agent.destroy()
    await daemon[Symbol.asyncDispose]()
    await rm(data, { recursive: true, force: true })
  })

  async function ask(
    ...[method, path, options]: Parameters<OrbitUser['send']>
  ): Promise<{ answer: Answer; window: Window }> {
    const [from, began] = [model.tick(), Date.now()]
    const answer = await owner.send(method, path, { agent, ...options })
    return { answer, window: { from, to: model.tick(), began, ended: Date.now() } }
  }

  function newVersion(random: () => number): Version {
    const deleteAt = random() < 0.15 ? Math.ceil(Date.now() / 1000 + 1 + random()) : undefined
    return model.newVersion(pick(SIZES, random), deleteAt)
  }

  const put = (path: string, random: () => number) =>
    model.change([path], async () => {
      const version = newVersion(random)
      const change = model.begin(path, version)
      const headers: Record<string, string> = { 'x-object-meta-id': String(version.id) }
      if (version.deleteAt !== undefined) headers['x-delete-at'] = String(version.deleteAt)
      if (random() < 0.3) headers['transfer-encoding'] = 'chunked'
      const { answer } = await ask('PUT', path, { headers, body: bytesOf(version) })
      change.done()
      assert.deepEqual([answer.status, answer.headers.etag], [201, version.md5], `${path}: ${answer.text}`)
    })

  /** With a checksum that is wrong, or a connection that ends in the middle: nothing changes. */
  async function putInVain(path: string, random: () => number): Promise<void> {
    const body = bytesOf({ id: 1, size: 1 + Math.floor(random() * 2_000_000) })
    if (random() < 0.5) {
      const { answer } = await ask('PUT', path, { headers: { etag: 'f'.repeat(32) }, body })
      assert.equal(answer.status, 422)
      return
    }
    const headers = { 'x-auth-token': owner.token, 'content-length': body.length + 1 }
    const sent = request(`${owner.storage}${path}`, { method: 'PUT', headers })
    const closed = new Promise((resolve) => sent.on('close', resolve))
    sent.on('error', () => undefined)
    sent.write(body, () => sent.destroy())
    await closed
  }

  const remove = (path: string) =>
    model.change([path], async () => {
      const now = model.now(path)
      const change = model.begin(path, undefined)
      const { answer, window } = await ask('DELETE', path)
      change.done()
      if (answer.status === 204) assert.ok(now && mayStand(now, window), `${path} was there to be removed`)
      else assert.ok(answer.status === 404 && (!now || mayBeGone(now, window)), `${path}: ${answer.status}`)
    })

  const copy = (from: string, to: string) =>
    model.change([from, to], async () => {
      const source = model.now(from)
      const change = source && model.begin(to, source)
      const { answer, window } = await ask('COPY', from, { headers: { destination: to } })
      if (answer.status === 201) {
        change?.done()
        assert.equal(Number(answer.headers['x-object-meta-id']), source?.id, `COPY of ${from}`)
      } else {
        change?.retract()
        assert.equal(answer.status, 404, answer.text)
        assert.ok(!source || mayBeGone(source, window), `${from} is there to be copied`)
      }
    })

  async function read(path: string, random: () => number): Promise<void> {
    const start = random() < 0.4 ? Math.floor(random() * 1_100_000) : undefined
    const range = start === undefined ? {} : { range: `bytes=${start}-${start + 70_000}` }
    const { answer, window } = await ask('GET', path, { headers: range })
    const id = answer.status === 404 ? undefined : Number(answer.headers['x-object-meta-id'])
    const seen = id === undefined ? undefined : (version: Version) => version.id === id
    const version = model.assertSeen(path, window, seen)
    if (id === undefined || !version) return
    assert.equal(answer.headers.etag, version.md5, `${path}: metadata and ETag are of one version`)
    const whole = bytesOf(version)
    if (start === undefined) assert.ok(answer.body.equals(whole), `${path}: bytes are of that version too`)
    else if (start >= version.size) assert.equal(answer.status, 416)
    else assert.ok(answer.body.equals(whole.subarray(start, start + 70_001)), `${path} from ${start}`)
  }

  /** A listing and the counts that come with it are of one moment. */
  async function list(container: string): Promise<Row[]> {
    const { answer, window } = await ask('GET', `/${container}?format=json`)
    const rows = JSON.parse(answer.text) as Row[]
    assert.deepEqual(
      [answer.headers['x-container-object-count'], answer.headers['x-container-bytes-used']],
      [String(rows.length), String(rows.reduce((sum, { bytes }) => sum + bytes, 0))],
    )
    const byName = new Map(rows.map((row) => [`/${container}/${encodeURIComponent(row.name)}`, row]))
    for (const path of PATHS.filter((path) => path.startsWith(`/${container}/`))) {
      const row = byName.get(path)
      const seen = row && (({ md5, size }: Version) => md5 === row.hash && size === row.bytes)
      model.assertSeen(path, window, seen)
    }
    return rows
  }

  async function client(random: () => number): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      const [path, kind] = [pick(PATHS, random), random()]
      if (kind < 0.25) await put(path, random)
      else if (kind < 0.31) await putInVain(path, random)
      else if (kind < 0.39) await remove(path)
      else if (kind < 0.47) await copy(path, pick(PATHS, random))
      else if (kind < 0.55) await list(pick(CONTAINERS, random))
      else await read(path, random)
    }
  }

  const operator = async (...words: string[]) =>
    execute('bin/image-library', [...words, ...(await libraryAt(data))])

  test('clients at work see whole versions, and listings and counts of one moment', async (t) => {
    t.diagnostic(`seed ${seed}`)
    const clients = Array.from({ length: CLIENTS }, (_, n) => client(createRandom(seed + n)))
    const collecting = (async () => {
      for (let round = 0; round < 3; round++) await operator('collect')
    })()
    await Promise.all([...clients, collecting])
  })

  test('and in the end everything is as the model says', async () => {
    const last = Math.max(0, ...PATHS.map((path) => model.now(path)?.deleteAt ?? 0))
    await delay(Math.max(0, last * 1000 - Date.now()))
    let total = 0
    for (const container of CONTAINERS) {
      const rows = await list(container)
      const paged: string[] = []
      for (;;) {
        const marker = encodeURIComponent(paged.at(-1) ?? '')
        const { text } = (await ask('GET', `/${container}?limit=3&marker=${marker}`)).answer
        if (text === '') break
        paged.push(...text.trimEnd().split('\n'))
      }
      const names = rows.map(({ name }) => name)
      assert.deepEqual(paged, names)
      assert.deepEqual(
        names,
        names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      )
      const { text } = (await ask('GET', `/${container}?reverse=on`)).answer
      assert.deepEqual(text.split('\n').slice(0, -1), names.toReversed())
      total += rows.length
    }
    const { headers } = await owner.send('HEAD', '')
    assert.equal(headers['x-account-object-count'], String(total))
    for (const path of PATHS) await read(path, () => 0.99)
  })

  test('and nothing is left when all is removed', async () => {
    await operator('check')
    for (const path of PATHS) await remove(path)
    for (const container of CONTAINERS) {
      assert.equal((await owner.send('DELETE', `/${container}`)).status, 204)
    }
    // A library that runs may be about to name what it wrote a moment ago.
    await daemon[Symbol.asyncDispose]()
    await operator('collect')
    assert.deepEqual(await listStored(data), [])
  })
})
