import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Kysely, sql } from 'kysely'
import { openSqlite } from './dialect-sqlite.ts'

test('SQLite: a rollback of what SQLite has rolled back already leaves the reason to be told', async () => {
  const db = new Kysely<Record<string, never>>({ dialect: openSqlite(':memory:').kysely })
  const work = db.transaction().execute(async (transaction) => {
    await sql`rollback`.execute(transaction)
    throw new Error('the reason')
  })
  await assert.rejects(work, /the reason/)
  await db.transaction().execute((transaction) => sql`create table t (x)`.execute(transaction))
  await db.destroy()
})

test('SQLite: a full disk is unavailable, undoes the transaction and leaves the catalog usable', async () => {
  const db = new Kysely<Record<string, never>>({ dialect: openSqlite(':memory:').kysely })
  await sql`create table t (x)`.execute(db)
  await sql`pragma max_page_count = 8`.execute(db)
  const fill = db.transaction().execute(async (transaction) => {
    await sql`insert into t values (1)`.execute(transaction)
    await sql`insert into t values (zeroblob(1000000))`.execute(transaction)
  })
  await assert.rejects(fill, { code: 'unavailable', message: /the disk is full/ })
  await db.transaction().execute((transaction) => sql`insert into t values (2)`.execute(transaction))
  assert.deepEqual((await sql<object>`select x from t`.execute(db)).rows.map(Object.values), [[2]])
  await db.destroy()
})

test('SQLite: a file that another program locks is unavailable, one that is damaged is corrupt', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'catalog-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, 'catalog.sqlite')
  const db = new Kysely<Record<string, never>>({ dialect: openSqlite(path).kysely })
  t.after(() => db.destroy())
  await sql`create table t (x)`.execute(db)
  await sql`pragma busy_timeout = 0`.execute(db)
  {
    const other = new DatabaseSync(path)
    other.exec('begin exclusive')
    const write = sql`insert into t values (1)`.execute(db)
    await assert.rejects(write, { code: 'unavailable', message: /another process holds its lock/ })
    other.exec('rollback')
    other.close()
  }
  await sql`insert into t values (2)`.execute(db)
  const damaged = join(folder, 'damaged.sqlite')
  await writeFile(damaged, Buffer.alloc(65_536, 'not a database'))
  assert.throws(() => openSqlite(damaged), { code: 'corrupt', message: 'use the catalog: it is damaged' })
})
