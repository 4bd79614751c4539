import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, test } from 'node:test'
import { createDatabase } from '../../../test/support/postgres.ts'
import { needs } from '../../../test/support/tools.ts'
import { type Catalog, type CatalogPlace, openCatalog } from './catalog.ts'
import { parseRow, printRow, type Row, RowSum } from './row-lines.ts'
import { MOVED_TABLES, NOT_MOVED } from './rows.ts'

type Place = CatalogPlace & AsyncDisposable

async function sqlite(): Promise<Place & { readonly path: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'rows-'))
  return {
    path: join(folder, 'catalog.sqlite'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

const PLACES: readonly { name: string; options: object; make: () => Promise<Place> }[] = [
  { name: 'SQLite', options: {}, make: sqlite },
  { name: 'PostgreSQL', options: needs('postgres'), make: () => createDatabase({ empty: true }) },
]

const tablesOf = (database: DatabaseSync): string[] =>
  database
    .prepare(`select name from sqlite_schema where type = 'table' and name not like 'sqlite%'`)
    .all()
    .map(({ name }) => String(name))
    .filter((name) => !name.startsWith('kysely_'))

/** Rows for every column of a table, of values that texts are hard to write for; every other one has nulls. */
function rowsFor(database: DatabaseSync, table: string, count: number): Row[] {
  const columns = database.prepare(`select * from pragma_table_info(?)`).all(table)
  const references = database.prepare(`select * from pragma_foreign_key_list(?)`).all(table)
  return Array.from({ length: count }, (_, index): Row => {
    const values = columns.map(({ name, type, notnull, pk }) => {
      const reference = references.find(({ from }) => from === name)
      const isNull = index % 2 === 1 && notnull === 0 && pk === 0
      const column = String(reference ? reference.to : name)
      const place = reference?.table === table ? count - 1 - index : index
      if (isNull) return [name, null]
      if (type === 'text') return [name, `${column} ${place} "é\n\\ 😀`]
      if (String(type).toLowerCase() === 'blob') return [name, new Uint8Array([0, 255, index])]
      return [name, (type === 'bigint' && !reference ? 2 ** 45 : 10) + place]
    })
    return Object.fromEntries(values)
  })
}

/** A catalog with rows in every table. */
async function fillEvery(catalog: Catalog, count: number): Promise<void> {
  await using place = await sqlite()
  await (await openCatalog(place))[Symbol.asyncDispose]()
  using database = new DatabaseSync(place.path)
  await catalog.transaction(async ({ rows }) => {
    await rows.clear()
    for (const table of MOVED_TABLES) await rows.fill(table, () => fromArray(rowsFor(database, table, count)))
  })
}

async function* fromArray<T>(things: readonly T[]): AsyncGenerator<T> {
  yield* things
}

async function sumsOf(catalog: Catalog): Promise<Map<string, RowSum>> {
  const sums = new Map<string, RowSum>()
  await catalog.snapshot(async ({ rows }) => {
    for (const table of MOVED_TABLES) {
      const sum = new RowSum()
      for await (const row of rows.read(table)) sum.add(parseRow(printRow(row)))
      sums.set(table, sum)
    }
  })
  return sums
}

test('rows: every table of the catalog either moves or is known not to', async () => {
  await using place = await sqlite()
  await (await openCatalog(place))[Symbol.asyncDispose]()
  using database = new DatabaseSync(place.path)
  assert.deepEqual(tablesOf(database).sort(), [...MOVED_TABLES, ...NOT_MOVED].sort())
})

for (const from of PLACES)
  for (const to of PLACES)
    test(`rows: all of them go from ${from.name} to ${to.name}, and are the same there`, {
      ...from.options,
      ...to.options,
    }, async () => {
      await using fromPlace = await from.make()
      await using toPlace = await to.make()
      await using source = await openCatalog(fromPlace)
      await using target = await openCatalog(toPlace)
      assert.equal(await source.rows.isEmpty(), true)
      await fillEvery(source, 507)
      assert.equal(await source.rows.isEmpty(), false)
      await source.snapshot(async (tables) => {
        await target.transaction(async ({ rows }) => {
          await rows.clear()
          for (const table of MOVED_TABLES) await rows.fill(table, () => tables.rows.read(table))
        })
      })
      const [before, after] = [await sumsOf(source), await sumsOf(target)]
      for (const table of MOVED_TABLES) {
        assert.equal(before.get(table)?.rows, 507)
        assert.ok(before.get(table)?.equals(after.get(table) ?? new RowSum()), table)
      }
      assert.equal(await target.rows.version(), await source.rows.version())
    })

for (const { name, options, make } of PLACES)
  describe(`rows: in ${name}`, options, () => {
    test('numbers that are drawn go on behind those that were filled in', async () => {
      await using place = await make()
      await using catalog = await openCatalog(place)
      const { id: accountId } = await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
      const insert = (name: string) => {
        const attributes = { metadata: {}, read: null, write: null, versions: null }
        return catalog.containers.insert({ accountId, name }, attributes, 1)
      }
      assert.equal((await insert('first'))?.id, 1)
      const row = { account_id: accountId, name: 'filled', object_count: 0, bytes_used: 0, metadata: '{}' }
      const filled = { id: 41, ...row, created_at: 1, updated_at: 1 }
      await catalog.transaction(({ rows }) => rows.fill('containers', () => fromArray([filled])))
      assert.equal((await insert('next'))?.id, 42)
    })

    test('a catalog that was left refuses changes with words, until it is taken up again', async () => {
      await using place = await make()
      await using catalog = await openCatalog(place)
      const insert = () => catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
      const { id } = await insert()
      for (let time = 0; time < 2; time++) await catalog.transaction(({ rows }) => rows.refuseChanges())
      const refused = { code: 'unavailable', message: /has moved/ }
      await assert.rejects(insert(), refused)
      await assert.rejects(
        catalog.transaction(({ settings }) => settings.set('check', 'x')),
        refused,
      )
      assert.equal((await catalog.accounts.list())[0]?.id, id, 'what is there can be read')
      // Who reads says so, and that goes on.
      await catalog.pins.set('a'.repeat(64), 'us', 1)
      for (let time = 0; time < 2; time++) await catalog.transaction(({ rows }) => rows.acceptChanges())
      await insert()
    })

    test('a table that does not exist is not filled, and an older program is told', async () => {
      await using place = await make()
      {
        await using catalog = await openCatalog({ ...place, upTo: '0005-damage' })
        assert.equal(await catalog.rows.version(), '0005-damage')
        for (const table of ['nothing', 'tokens', 'toString'])
          await assert.rejects(
            catalog.rows.fill(table, () => fromArray([])),
            { code: 'invalid' },
          )
      }
      await assert.rejects(openCatalog({ ...place, upTo: '9999-later' }), { code: 'invalid' })
      await (await openCatalog(place))[Symbol.asyncDispose]()
      await assert.rejects(openCatalog({ ...place, upTo: '0005-damage' }), { code: 'invalid' })
    })
  })

test('rows: a line that is no row is refused', () => {
  for (const line of ['', '[]', 'null', '1', '{"a":', '{"a":{"b":1}}', '{"a":true}', '{"a":[]}'])
    assert.throws(() => parseRow(line), { code: 'corrupt' }, line)
})
