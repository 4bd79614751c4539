import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { sql } from 'kysely'
import pg from 'pg'
import { KINDS, type Kind, makePlace } from '../../../test/support/catalogs.ts'
import { createDatabase } from '../../../test/support/postgres.ts'
import { needs } from '../../../test/support/tools.ts'
import { type CatalogPlace, openCatalog, openDialect, openOn, pendingMigrations } from './catalog.ts'
import type { Step, Steps } from './migrate.ts'
import { migrationsOf } from './migrations.ts'

const NEWER = '0999-newer'

/** What a program does that has one step more. */
async function openNewer(place: CatalogPlace, step: Step) {
  const dialect = openDialect(place)
  const steps: Steps = { ...migrationsOf(dialect), [NEWER]: step }
  return await openOn(dialect, randomBytes, { steps })
}

async function run(place: CatalogPlace, text: string): Promise<object[]> {
  if ('path' in place) {
    using database = new DatabaseSync(place.path)
    return database.prepare(text).all()
  }
  const client = new pg.Client(place.url)
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

const ADDS: Step = {
  since: '0009-compatibility',
  async up(db) {
    await db.schema.alterTable('accounts').addColumn('motto', 'text').execute()
    await db.schema.createTable('mottos').addColumn('text', 'text').execute()
  },
}
const CHANGES: Step = { up: async (db) => void (await sql`alter table zones rename to places`.execute(db)) }

function onEachPlace(name: string, work: (place: CatalogPlace, kind: Kind) => Promise<void>) {
  for (const kind of KINDS)
    test(`${name} (${kind})`, kind === 'postgres' ? needs('postgres') : {}, async () => {
      await using made = await makePlace(kind)
      await work(made.place, kind)
    })
}

onEachPlace(
  'upgrade: while a step only adds, the older program goes on, and may start again',
  async (place) => {
    await using older = await openCatalog(place)
    await using newer = await openNewer(place, ADDS)
    const add = { name: 'a', status: 'active', createdAt: 1 } as const
    const first = await older.accounts.insert(add)
    const second = await newer.accounts.insert(add)
    await using again = await openCatalog(place)
    const third = await again.accounts.insert(add)
    for (const catalog of [older, newer, again])
      assert.deepEqual(
        (await catalog.accounts.list()).map(({ id }) => id).sort(),
        [first.id, second.id, third.id].sort(),
      )
    assert.deepEqual(await pendingMigrations(place), [])
  },
)

onEachPlace('upgrade: a program that cannot do without a step does not start any more', async (place) => {
  await (await openCatalog(place))[Symbol.asyncDispose]()
  await (await openNewer(place, CHANGES))[Symbol.asyncDispose]()
  const refused = { code: 'unavailable', message: /0999-newer, which is newer than this program/ }
  await assert.rejects(openCatalog(place), refused)
  await assert.rejects(pendingMigrations(place), refused)
})

onEachPlace('upgrade: a step of which nothing is known is one that cannot be done without', async (place) => {
  await (await openCatalog(place))[Symbol.asyncDispose]()
  await run(place, "insert into kysely_migration values ('0999-newer', '2999-01-01')")
  await assert.rejects(openCatalog(place), { code: 'unavailable', message: /0999-newer/ })
})

onEachPlace('upgrade: what is to be done is told, and not done', async (place, kind) => {
  if (kind === 'sqlite')
    await (await openCatalog({ ...place, upTo: '0006-snapshot-jobs' }))[Symbol.asyncDispose]()
  const [leases, compatibility] = ['0008-leases', '0009-compatibility']
  const expected = [
    { name: '0007-generations', onlyAdds: false },
    { name: leases, onlyAdds: false },
    { name: compatibility, onlyAdds: false },
  ]
  assert.deepEqual((await pendingMigrations(place)).slice(0, 3), kind === 'sqlite' ? expected : [])
  if (kind === 'sqlite') await (await openCatalog({ ...place, upTo: leases }))[Symbol.asyncDispose]()
  const adding = { name: compatibility, onlyAdds: true }
  assert.deepEqual((await pendingMigrations(place)).slice(0, 1), kind === 'sqlite' ? [adding] : [])
  await (await openCatalog(place))[Symbol.asyncDispose]()
  assert.deepEqual(await pendingMigrations(place), [])
})

test(
  'upgrade: of many that start at once on a new database, one makes the tables',
  needs('postgres'),
  async () => {
    await using database = await createDatabase({ empty: true })
    assert.ok((await pendingMigrations(database)).length > 5)
    await using opened = new AsyncDisposableStack()
    const catalogs = await Promise.all(
      Array.from({ length: 5 }, async () =>
        opened.use(await openCatalog({ url: database.url, connections: 3 })),
      ),
    )
    for (const catalog of catalogs) assert.equal((await catalog.zones.list()).length, 2)
  },
)

test(
  'upgrade: one that fails in the middle leaves no table, and the next one makes them',
  needs('postgres'),
  async () => {
    await using database = await createDatabase({ empty: true })
    await run(database, 'create table zones (x int)')
    await assert.rejects(openCatalog(database), {
      code: 'unavailable',
      message: 'bring the catalog up to date',
    })
    const made = "select 1 from pg_tables where tablename in ('accounts', 'images', 'events')"
    assert.deepEqual(await run(database, made), [])
    await run(database, 'drop table zones')
    await using catalog = await openCatalog(database)
    assert.equal((await catalog.zones.list()).length, 2)
  },
)

test('database: one whose text is not UTF-8 is refused', needs('postgres'), async () => {
  await using database = await createDatabase({ empty: true })
  const url = new URL(database.url.replace('@/', '@localhost/'))
  const name = `${url.pathname.slice(1)}_ascii`
  await run(
    database,
    `create database ${name} encoding sql_ascii locale_provider libc locale 'C' template template0`,
  )
  const ascii = { url: database.url.replace(url.pathname, `/${name}`) }
  await assert.rejects(openCatalog(ascii), { code: 'invalid', message: /UTF8/ })
  await run(database, `drop database ${name} with (force)`)
})
