import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { type Catalog, openOn } from '#control/catalog/catalog.ts'
import { openPostgres } from '#control/catalog/dialect-postgres.ts'
import type { PostgresLimits } from '#control/catalog/postgres-pool.ts'
import { SYSTEM } from '#model/event.ts'
import { type CuttingProxy, startCuttingProxy } from '../../../test/support/cutting-proxy.ts'
import { createDatabase, startPostgres, type TestServer } from '../../../test/support/postgres.ts'
import { needs } from '../../../test/support/tools.ts'
import { createJobQueue, type JobHandler } from './queue.ts'

const QUICK = { connections: 4, connectMs: 2000, statementMs: 2000, answerMs: 500, patienceMs: 10_000 }
const unavailable = (message: RegExp) => ({ name: 'LibraryError', code: 'unavailable', message })

describe('PostgreSQL', needs('postgres'), () => {
  let server: TestServer
  let url: string
  before(async () => {
    server = await startPostgres({ max_connections: 12, superuser_reserved_connections: 0 })
    url = (await createDatabase({ server })).url
  })
  after(() => server[Symbol.asyncDispose]())

  const open = (change: Partial<PostgresLimits> = {}, at = url): Promise<Catalog> =>
    openOn(openPostgres({ url: at, ...QUICK, ...change }), randomBytes)

  async function administer(text: string): Promise<void> {
    const client = new pg.Client(url)
    await client.connect()
    await client.query(text)
    await client.end()
  }
  const endOthers = () =>
    administer(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`,
    )

  test('restart: a read goes on, a transaction under way is undone, and the next one is made', async () => {
    await using catalog = await open()
    await catalog.settings.set('a', 'old')
    const change = catalog.transaction(async (tables) => {
      await tables.settings.set('a', 'never')
      server.restart()
      await tables.settings.set('b', 'never')
    })
    await assert.rejects(change, unavailable(/./))
    assert.equal(await catalog.settings.get('a'), 'old')
    await catalog.transaction((tables) => tables.settings.set('a', 'new'))
    assert.equal(await catalog.settings.get('a'), 'new')
    server.restart('fast')
    assert.equal(await catalog.snapshot(({ settings }) => settings.get('a')), 'new')
  })

  test('outage: it is ridden out where it is short, and unavailable where it is not', async () => {
    await using patient = await open()
    await using hasty = await open({ patienceMs: 100 })
    await patient.settings.set('a', '1')
    server.stop()
    const waiting = [patient.settings.get('a'), patient.transaction(({ settings }) => settings.get('a'))]
    await assert.rejects(hasty.settings.get('a'), unavailable(/./))
    await assert.rejects(
      hasty.transaction(({ settings }) => settings.set('a', '2')),
      unavailable(/./),
    )
    server.start()
    assert.deepEqual(await Promise.all(waiting), ['1', '1'])
  })

  test('ended connections: idle ones are replaced, and a transaction that had one is undone', async () => {
    await using catalog = await open()
    await catalog.settings.set('a', 'old')
    await endOthers()
    assert.equal(await catalog.settings.get('a'), 'old')
    const change = catalog.transaction(async (tables) => {
      await tables.settings.set('a', 'never')
      await endOthers()
      await tables.settings.get('a')
    })
    await assert.rejects(change, unavailable(/being stopped|lost/))
    assert.equal(await catalog.settings.get('a'), 'old')
  })

  test('a server that stands still: nobody waits for ever, and it is used again once it goes on', async () => {
    await using catalog = await open({ statementMs: 500, patienceMs: 100, connectMs: 500 })
    await catalog.settings.set('a', 'old')
    const closing = await open({ connectMs: 500 })
    await closing.settings.get('a')
    await new Promise<void>((told) => void closing.onChange('events', told))
    server.signal('SIGSTOP')
    try {
      await assert.rejects(catalog.settings.get('a'), unavailable(/does not answer/))
      await assert.rejects(
        catalog.transaction(({ settings }) => settings.set('a', 'x')),
        unavailable(/./),
      )
      // With connections that rest, and one that listens.
      await closing[Symbol.asyncDispose]()
    } finally {
      server.signal('SIGCONT')
    }
    await using again = await open()
    assert.equal(await again.settings.get('a'), 'old')
    assert.equal(await catalog.settings.get('a'), 'old')
  })

  test('a process that stands still in a transaction: others go on, and it can publish nothing', async () => {
    await using still = await open({ restMs: 200 })
    await using other = await open()
    const woken = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const change = still.transaction(async ({ settings }) => {
      await settings.set('a', 'never')
      begun.resolve()
      await woken.promise
    })
    await begun.promise
    await other.transaction(({ settings }) => settings.set('a', 'other'))
    woken.resolve()
    await assert.rejects(change, unavailable(/rested|lost/))
    assert.equal(await other.settings.get('a'), 'other')
  })

  test('connections: who finds none free is told so, and those who read are not held up by who writes', async () => {
    await using catalog = await open({ connections: 3, connectMs: 200, patienceMs: 0 })
    const woken = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const holding = catalog.transaction(async () => {
      begun.resolve()
      await woken.promise
    })
    await begun.promise
    await assert.rejects(
      catalog.transaction(async () => {}),
      unavailable(/all connections to it are in use/),
    )
    assert.equal(await catalog.settings.get('none'), undefined)
    woken.resolve()
    await holding
  })

  test('connections: more than the server takes are waited for', async () => {
    const clients: pg.Client[] = []
    await using catalog = await open({ patienceMs: 200 })
    await endOthers()
    for (;;) {
      const client = new pg.Client(url)
      client.on('error', () => {})
      try {
        await client.connect()
      } catch {
        break
      }
      clients.push(client)
    }
    await assert.rejects(catalog.settings.get('a'), unavailable(/too many clients/))
    const opening = open()
    for (const client of clients) await client.end()
    await using opened = await opening
    assert.equal(await opened.settings.get('none'), undefined)
  })

  test('a job: wherever its connection is lost, it is done once', async () => {
    await using proxy = await startCuttingProxy(server.folder)
    const proxied = url.replace(/host=.*/, `host=${encodeURIComponent(proxy.folder)}`)
    await using catalog = await open()
    await using cut = await open({}, proxied)
    const { id: accountId } = await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
    let lives = 0
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; ; at++) {
        const subject = `${when}-${at}`
        await liveThrough({ catalog, cut, proxy, accountId, subject }, { at, when })
        lives++
        if (!proxy.hasCut) break
      }
    }
    assert.ok(lives > 20, `${lives} lives`)
  })
})

interface Life {
  readonly catalog: Catalog
  /** The same, over the proxy. */
  readonly cut: Catalog
  readonly proxy: CuttingProxy
  readonly accountId: string
  readonly subject: string
}

async function liveThrough(
  { catalog, cut, proxy, accountId, subject }: Life,
  where: Parameters<CuttingProxy['cut']>[0],
) {
  const clock = { at: 1_000_000 }
  const kind = 'work'
  const handler: JobHandler = {
    async run({ finish }) {
      await queue.heartbeat()
      await finish(async ({ settings, events }) => {
        await settings.set(subject, String(Number((await settings.get(subject)) ?? 0) + 1))
        const event = { accountId, resourceId: subject, action: 'image.available', message: 'done' } as const
        await events.add({ ...event, actor: SYSTEM, createdAt: 1 })
      })
    },
    async retrying() {},
    async failed() {
      assert.fail('it was given up')
    },
    async settled() {},
  }
  const silent = { info() {}, warn() {}, error() {} }
  const generations = { generation: async () => 1 }
  const options = {
    catalog: cut,
    owner: subject,
    now: () => clock.at,
    random: randomBytes,
    log: silent,
    generations,
  }
  await using queue = createJobQueue({ ...options, leaseMs: 30_000 })
  queue.handle(kind, handler, { concurrency: 1, perAccount: 1 })
  await catalog.jobs.insert({ kind, subject, accountId, payload: {}, runAt: 1, createdAt: 1 })
  proxy.cut(where)
  for (let round = 0; round < 5 && (await catalog.jobs.find(kind, subject)); round++) {
    await queue.poll()
    await queue.settled()
    clock.at += 600_000
  }
  assert.equal(await catalog.settings.get(subject), '1', `cut ${JSON.stringify(where)}`)
  const events = await catalog.events.list({ accountId, resourceId: subject, after: 0, limit: 10 })
  assert.equal(events.length, 1)
}
