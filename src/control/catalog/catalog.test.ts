import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Kysely, type LogEvent } from 'kysely'
import { SYSTEM } from '#model/event.ts'
import { type Image, NO_PROVENANCE } from '#model/image.ts'
import { onEach } from '../../../test/support/catalogs.ts'
import { type Catalog, openCatalog, type Tables } from './catalog.ts'
import { openSqlite } from './dialect-sqlite.ts'
import { imagesTable } from './images.ts'
import type { Schema } from './schema.ts'

const IMAGE: Omit<Image, 'id' | 'accountId'> = {
  name: 'image',
  arch: 'x86_64',
  status: 'available',
  description: null,
  username: null,
  sourceType: 'upload',
  sourceTrigger: 'manual',
  source: null,
  minRam: null,
  public: false,
  official: false,
  compatibilityMode: false,
  locked: false,
  licenceName: null,
  ancestorId: null,
  virtualSize: 5 * 2 ** 40,
  dataSize: 10,
  manifest: null,
  provenance: { ...NO_PROVENANCE, url: 'http://example/é', notes: ['a note'] },
  progress: null,
  failure: null,
  damagedAt: null,
  createdAt: 1,
  updatedAt: 1,
}

async function temporaryFile() {
  const folder = await mkdtemp(join(tmpdir(), 'catalog-'))
  return {
    path: join(folder, 'catalog.db'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

const addAccount = (tables: Tables) => tables.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })

function addEvent(tables: Tables, accountId: string, message = 'm') {
  const action = 'image.updated'
  return tables.events.add({
    accountId,
    resourceId: 'img-00001',
    action,
    message,
    actor: SYSTEM,
    createdAt: 1,
  })
}

onEach('catalog: what was written is there when it is opened again, seeds once', async (open) => {
  let image: Image
  {
    await using catalog = await open()
    const { id: accountId } = await addAccount(catalog)
    image = await catalog.images.insert({ ...IMAGE, accountId, public: true, minRam: 512 })
  }
  await using catalog = await open()
  assert.deepEqual(await catalog.images.find(image.id), image)
  assert.deepEqual(
    (await catalog.zones.list()).map((zone) => zone.handle),
    ['gb1-a', 'gb1-b'],
  )
  const types = await catalog.serverTypes.list()
  const type = types.find(({ handle }) => handle === '1gb.ssd')
  assert.deepEqual([type?.id, type?.ram], ['typ-w0hf9', 1024])
  for (const { id } of types) assert.match(id, /^typ-[0-9a-z]{5}$/)
})

test('catalog: the payload of a job that ended is in no file any more', async () => {
  await using file = await temporaryFile()
  await using catalog = await openCatalog({ path: file.path })
  const { id: accountId } = await addAccount(catalog)
  const payload = { url: `http://example.test/?signature=${'hushhush'.repeat(20)}` }
  for (const subject of ['img-00001', 'img-00002'])
    await catalog.jobs.insert({ kind: 'k', subject, accountId, payload, runAt: 1, createdAt: 1 })
  await catalog.erase()
  const hits = async () => {
    const paths = [file.path, `${file.path}-wal`]
    return (await Promise.all(paths.map((path) => readFile(path, 'latin1')))).map((text) =>
      text.includes('hushhush'),
    )
  }
  assert.deepEqual(await hits(), [true, false])
  for (const subject of ['img-00001', 'img-00002']) await catalog.jobs.remove('k', subject)
  await catalog.erase()
  assert.deepEqual(await hits(), [false, false])
})

test('catalog: erasing waits for nobody who reads', async () => {
  await using file = await temporaryFile()
  await using catalog = await openCatalog({ path: file.path })
  using reader = new DatabaseSync(file.path)
  reader.exec('begin; select * from accounts')
  await addAccount(catalog)
  const began = performance.now()
  await catalog.erase()
  assert.ok(performance.now() - began < 1000)
  reader.exec('commit')
})

test('catalog: a file that cannot be one is refused', async () => {
  await assert.rejects(openCatalog({ path: '/nonexistent/catalog.db' }), { code: 'unavailable' })
})

test('catalog: a start cut off while it makes the tables leaves none, and the next one makes them', async () => {
  await using file = await temporaryFile()
  const run = (text: string) => {
    const database = new DatabaseSync(file.path)
    const rows = database.prepare(text).all()
    database.close()
    return rows
  }
  // The last table but two cannot be made.
  run('create table zones (x)')
  await assert.rejects(openCatalog({ path: file.path }), { code: 'unavailable' })
  assert.deepEqual(run("select name from sqlite_master where name in ('accounts', 'images', 'events')"), [])
  run('drop table zones')
  await using catalog = await openCatalog({ path: file.path })
  assert.equal((await catalog.zones.list()).length, 2)
})

onEach('transaction: a failure undoes all of it, and others wait meanwhile', async (open) => {
  await using catalog = await open()
  const order: string[] = []
  const begun = Promise.withResolvers<void>()
  const failing = catalog.transaction(async (tables) => {
    await tables.settings.set('a', 'half')
    begun.resolve()
    await tables.settings.set('b', 'half')
    order.push('first')
    throw new Error('stop')
  })
  await begun.promise
  const following = catalog.transaction(async (tables) => {
    order.push('second')
    assert.equal(await tables.settings.get('a'), undefined)
  })
  await assert.rejects(failing, /stop/)
  await following
  assert.deepEqual(order, ['first', 'second'])
})

onEach('snapshot: sees one moment whatever others write, and ends also where reading fails', async (open) => {
  await using catalog = await open()
  await using other = await open()
  await catalog.settings.set('a', 'old')
  const seen = await catalog.snapshot(async ({ settings }) => {
    const before = await settings.get('a')
    await other.settings.set('a', 'new')
    return [before, await settings.get('a')]
  })
  assert.deepEqual(seen, ['old', 'old'])
  const failing = catalog.snapshot(() => Promise.reject(new Error('stop')))
  await assert.rejects(failing, /stop/)
  assert.equal(await catalog.settings.get('a'), 'new')
  await catalog.transaction(({ settings }) => settings.set('a', 'newer'))
})

onEach('rows: have all columns by name, in statements that are used again', async (open) => {
  await using catalog = await open()
  const account = await addAccount(catalog)
  for (let count = 0; count < 2; count++) assert.deepEqual(await catalog.accounts.find(account.id), account)
  assert.deepEqual(await catalog.accounts.list(), [account])
})

onEach('ids: one that is taken is drawn again, also inside a transaction', async (open) => {
  let draws = 0
  // Each id comes three times before the next.
  const random = (count: number) => new Uint8Array(count).fill(Math.floor(draws++ / 3))
  await using catalog = await open(random)
  const ids = await catalog.transaction(async (tables) => {
    const { id: accountId } = await addAccount(tables)
    const first = await tables.images.insert({ ...IMAGE, accountId })
    const second = await tables.images.insert({ ...IMAGE, accountId })
    const third = await tables.images.insert({ ...IMAGE, accountId })
    return [first.id, second.id, third.id]
  })
  assert.deepEqual(ids, ['img-00000', 'img-11111', 'img-22222'])
})

onEach(
  'events: numbers rise by one in the order of commits, and a failed transaction leaves no gap',
  async (open) => {
    await using catalog = await open()
    await catalog.transaction((tables) => addEvent(tables, 'acc-00001', 'first'))
    const failing = catalog.transaction(async (tables) => {
      await addEvent(tables, 'acc-00001', 'never')
      throw new Error('stop')
    })
    await Promise.allSettled([
      failing,
      catalog.transaction((tables) => addEvent(tables, 'acc-00001', 'second')),
    ])
    const events = await catalog.events.list({ accountId: 'acc-00001', after: 0, limit: 10 })
    assert.deepEqual(
      events.map(({ sequence, message }) => [sequence, message]),
      [
        [1, 'first'],
        [2, 'second'],
      ],
    )
    assert.deepEqual(await catalog.events.list({ accountId: 'acc-00002', after: 0, limit: 10 }), [])
    const after = await catalog.events.list({
      accountId: 'acc-00001',
      resourceId: 'img-00001',
      after: 1,
      limit: 10,
    })
    assert.deepEqual(
      after.map((event) => event.message),
      ['second'],
    )
  },
)

onEach('images: a change is made only in the statuses it is meant for', async (open) => {
  await using catalog = await open()
  const { id: accountId } = await addAccount(catalog)
  const { id } = await catalog.images.insert({ ...IMAGE, accountId, status: 'deleting' })
  assert.equal(await catalog.images.update(id, { status: 'available' }, ['creating']), undefined)
  assert.equal((await catalog.images.update(id, { status: 'deleted' }, ['deleting']))?.status, 'deleted')
  const progress = {
    phase: 'receiving',
    percent: 1,
    bytesDone: 1,
    bytesTotal: null,
    rate: 1,
    etaSeconds: null,
    attempt: 1,
    message: null,
  } as const
  await catalog.images.saveProgress(id, progress, 1, 1)
  assert.equal((await catalog.images.find(id))?.progress, null)
})

/** Images of three accounts in all statuses, many with the same time, listed as the rules say. */
async function fill(catalog: Catalog, count: number) {
  const accounts = [await addAccount(catalog), await addAccount(catalog), await addAccount(catalog)]
  const statuses = [
    'creating',
    'available',
    'deprecated',
    'unavailable',
    'deleting',
    'deleted',
    'failed',
  ] as const
  const images: Image[] = []
  const bytes = randomBytes(count * 4)
  await catalog.transaction(async (tables) => {
    for (let index = 0; index < count; index++) {
      const [a = 0, s = 0, p = 0, t = 0] = bytes.subarray(index * 4)
      const ancestorId = images.length > 0 && t % 3 === 0 ? (images[t % images.length]?.id ?? null) : null
      images.push(
        await tables.images.insert({
          ...IMAGE,
          accountId: accounts[a % 3]?.id ?? '',
          status: statuses[s % statuses.length] ?? 'failed',
          public: p % 2 === 0,
          createdAt: t % 16,
          ancestorId,
        }),
      )
    }
  })
  return { accounts, images }
}

onEach(
  'listing: holds exactly the own and the public available images, in order, page by page as in one',
  async (open) => {
    await using catalog = await open()
    const { accounts, images } = await fill(catalog, 300)
    for (const { id } of accounts) {
      const expected = images
        .filter((image) =>
          image.accountId === id ? image.status !== 'deleted' : image.public && image.status === 'available',
        )
        .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
        .map((image) => image.id)
      const whole = await catalog.images.listVisible(id, {})
      assert.deepEqual(
        whole.map((image) => image.id),
        expected,
      )
      for (const limit of [1, 7, 1000]) {
        const paged: string[] = []
        for (let after = undefined as Image | undefined; ; ) {
          const page = await catalog.images.listVisible(id, after ? { after, limit } : { limit })
          paged.push(...page.map((image) => image.id))
          after = page.at(-1)
          if (!after) break
          assert.ok(page.length <= limit)
        }
        assert.deepEqual(paged, expected, `pages of ${limit}`)
      }
      const byId = new Map(images.map((image) => [image.id, image]))
      for (const { ancestor, ...image } of whole) {
        assert.deepEqual(image, byId.get(image.id))
        assert.equal(ancestor?.id ?? null, image.ancestorId)
        if (ancestor) assert.equal(ancestor.accountId, byId.get(ancestor.id)?.accountId)
      }
    }
  },
)

test('listing: takes one query, however many images there are', async () => {
  await using file = await temporaryFile()
  await using catalog = await openCatalog({ path: file.path })
  const queries: string[] = []
  const dialect = openSqlite(file.path)
  const log = ({ query }: LogEvent) => {
    queries.push(query.sql)
  }
  await using db = new Kysely<Schema>({ dialect: dialect.kysely, log })
  const images = imagesTable({ db, dialect, random: randomBytes, touch() {} })
  const { id: accountId } = await addAccount(catalog)
  let ancestorId: string | null = null
  for (let count = 0; count <= 200; count++) {
    if ([0, 1, 2, 200].includes(count)) {
      queries.length = 0
      assert.equal((await images.listVisible(accountId, { limit: 1000 })).length, count)
      assert.equal(queries.length, 1, queries.join('\n'))
    }
    // Each has an ancestor, which a listing could be tempted to ask for one by one.
    ancestorId = (await catalog.images.insert({ ...IMAGE, accountId, ancestorId })).id
  }
})

onEach(
  'pins: are overdue where they expired or would last too long; what was renewed since stays',
  async (open) => {
    await using catalog = await open()
    await catalog.pins.set('m1', 'one', 100)
    await catalog.pins.set('m1', 'two', 50)
    await catalog.pins.set('m1', 'two', 200)
    assert.deepEqual(await catalog.pins.listOverdue(99, 101), [])
    const one = { manifest: 'm1', holder: 'one', expiresAt: 100 }
    const two = { manifest: 'm1', holder: 'two', expiresAt: 200 }
    assert.deepEqual(await catalog.pins.listOverdue(100, 100), [one])
    assert.deepEqual(await catalog.pins.listOverdue(50, 100), [two])
    await catalog.pins.set('m1', 'two', 300)
    for (const pin of [one, two]) await catalog.pins.removeUnchanged(pin)
    await catalog.pins.remove('m1', 'three')
    assert.deepEqual(await catalog.pins.listManifests(), ['m1'])
    await catalog.pins.remove('m1', 'two')
    assert.deepEqual(await catalog.pins.listManifests(), [])
  },
)
