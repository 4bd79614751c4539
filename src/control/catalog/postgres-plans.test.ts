import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { type CompiledQuery, Kysely, sql } from 'kysely'
import { createDatabase } from '../../../test/support/postgres.ts'
import { needs } from '../../../test/support/tools.ts'
import { openDialect } from './catalog.ts'
import { imagesTable } from './images.ts'
import { jobsTable } from './jobs.ts'
import { objectsTable } from './objects.ts'
import type { Schema } from './schema.ts'

const ACCOUNTS = 100
const IMAGES = 20_000
const OBJECTS = 20_000
/** Of 8 KiB; all images lie in more than ten times as many. */
const PAGES_MAX = 120
/** Of each row that is found: whether it is the first of its image, whether it may be shown, and then all of it. */
const FOUND_PAGES_MAX = 1000

/** Rows as many as to make it worth while to read what is asked for and nothing else. */
async function fill(db: Kysely<Schema>): Promise<void> {
  for (const statement of [
    sql`insert into accounts (id, name, status, created_at)
      select 'acc-' || i, 'a', 'active', 1 from generate_series(0, ${sql.lit(ACCOUNTS - 1)}) i`,
    // Of each account every fourth is public, and a tenth of all are deleted.
    sql`insert into images (id, account_id, name, arch, status, source_type, source_trigger, public, official,
        compatibility_mode, locked, virtual_size, data_size, provenance, created_at, updated_at)
      select 'img-' || i, 'acc-' || i % ${sql.lit(ACCOUNTS)}, 'image ' || i, 'x86_64',
        case when i % 10 = 0 then 'deleted' else 'available' end, 'http', 'manual', (i / 100 % 4 = 0)::int, 0,
        0, 0, 1, 1, '{"notes":"' || repeat('p', 500) || '"}', i, i
      from generate_series(1, ${sql.lit(IMAGES)}) i`,
    sql`insert into image_names (image_id, words, account_id, open)
      select id, words, account_id, (public = 1 and status = 'available')::int
      from images, lateral (values (name), (substr(name, 7))) as starts (words) where status <> 'deleted'`,
    sql`insert into containers (account_id, name, object_count, bytes_used, created_at, updated_at, metadata)
      select 'acc-' || i, 'c', 0, 0, 1, 1, '{}' from generate_series(0, 1) i`,
    sql`insert into objects (container_id, name, size, md5, content_type, headers, metadata, modified_at)
      select 1 + i % 2, 'folder ' || i / 1000 || '/' || i, 1, '', '', '{}', '{}', 1
      from generate_series(1, ${sql.lit(OBJECTS)}) i`,
    sql`insert into jobs (id, kind, subject, account_id, payload, created_at, run_at, attempt, failures)
      select 'job-' || i, 'k', 's' || i, 'acc-' || i % ${sql.lit(ACCOUNTS)}, '{}', i, i, 0, 0
      from generate_series(1, 10000) i`,
    sql`vacuum analyze`,
  ])
    await statement.execute(db)
}

interface Plan {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Shared Hit Blocks': number
  readonly 'Shared Read Blocks': number
  readonly Plans?: readonly Plan[]
}

const scanned = (plan: Plan): string[] => [
  ...(plan['Node Type'] === 'Seq Scan' ? [plan['Relation Name'] ?? ''] : []),
  ...(plan.Plans ?? []).flatMap(scanned),
]

test(
  'plans: with many rows, PostgreSQL reads those that are asked for and hardly more',
  needs('postgres'),
  async () => {
    await using database = await createDatabase()
    const dialect = openDialect({ url: database.url, connections: 3 })
    const queries: CompiledQuery[] = []
    await using db = new Kysely<Schema>({
      dialect: dialect.kysely,
      log: ({ query }) => void queries.push(query),
    })
    await fill(db)
    const context = { db, dialect, random: randomBytes, touch() {} }
    const [images, objects, jobs] = [imagesTable(context), objectsTable(context), jobsTable(context)]
    const groups = { prefix: '', delimiter: '/', closed: false }
    const later = { after: { words: 'image 15000', id: 'img-15000' } }
    const claim = { kind: 'k', owner: 'o', now: 1_000_000, generation: 1, leaseMs: 1000, perAccount: 2 }
    const asked: [string, () => Promise<unknown>, number?][] = [
      ['a page of 50', () => images.listVisible('acc-1', { limit: 50 }), 500],
      [
        'a later page',
        () => images.listVisible('acc-1', { limit: 50, after: { createdAt: 9000, id: 'img-9' } }),
        500,
      ],
      ['one image', () => images.findShown('img-77')],
      ['a search', () => images.listNamed('acc-1', { beginning: 'image', limit: 50 }), FOUND_PAGES_MAX],
      [
        'a search, a later page',
        () => images.listNamed('acc-1', { ...later, beginning: 'i', limit: 50 }),
        FOUND_PAGES_MAX,
      ],
      ['a search for one', () => images.listNamed('acc-1', { beginning: '12301', limit: 50 })],
      ['a search for all that is so', () => images.listNamed('acc-1', { beginning: '1230' })],
      ['a search for nothing', () => images.listNamed('acc-1', { beginning: 'x', limit: 50 }), 20],
      ['room taken', () => images.sumDataSize('acc-1'), 300],
      ['an object', () => objects.find({ accountId: 'acc-0', container: 'c', object: 'folder 1/1001' }, 1)],
      [
        'names',
        () => objects.walk(1, { reverse: false, limit: 100, lower: { name: 'folder 1', inclusive: true } }),
      ],
      ['folders', () => objects.walk(1, { reverse: false, limit: 100, groups })],
      ['what is due', () => objects.isDue(1)],
      ['a claim', () => jobs.claim(claim), 2000],
    ]
    for (const [name, run, pages = PAGES_MAX] of asked) {
      queries.length = 0
      await run()
      for (const query of [...queries].filter(({ sql }) => !/advisory/.test(sql))) {
        const explained = { ...query, sql: `explain (analyze, buffers, format json) ${query.sql}` }
        const { rows } = await db.executeQuery<{ 'QUERY PLAN': [{ Plan: Plan }] }>(explained)
        const plan = rows[0]?.['QUERY PLAN'][0].Plan
        assert.ok(plan)
        const told = `${name}: ${JSON.stringify(plan, undefined, 1)}`
        const large = scanned(plan).filter((table) =>
          ['images', 'image_names', 'objects', 'jobs'].includes(table),
        )
        assert.deepEqual(large, [], told)
        const read = plan['Shared Hit Blocks'] + plan['Shared Read Blocks']
        assert.ok(read <= pages, `${read} pages for ${told}`)
      }
    }
  },
)

test('plans: nothing is compiled for a query', needs('postgres'), async () => {
  await using database = await createDatabase()
  const { kysely, writing, migrating } = openDialect({ url: database.url, connections: 3 })
  for (const dialect of [kysely, writing, migrating]) {
    await using db = new Kysely<Schema>({ dialect })
    const { rows } = await sql`show jit`.execute(db)
    assert.deepEqual(rows, [{ jit: 'off' }])
  }
})
