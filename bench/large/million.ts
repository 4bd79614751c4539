import pg from 'pg'
import { type LargeLibrary, type Member, startLargeLibrary } from '../../test/support/large-library.ts'
import type { TestServer } from '../../test/support/postgres.ts'
import { serveFolder } from '../registration.ts'
import { clearStore } from './clear-store.ts'
import { registerAll } from './registering.ts'
import type { CatalogCosts } from './sizing.ts'
import { makeSources } from './sources.ts'

const ACCOUNTS = 100
/** One image in so many is public, one deleted. */
const PUBLIC = 20
const DELETED = 10
/** Ids have five of these. */
const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz'
const IDS = 36 ** 5
/** Has no factor in common with their number, so that no id comes twice, and they are in no order. */
const STRIDE = 22_695_479

/** A library with many images of many accounts, that were never registered but for one. */
export interface ManyImages extends AsyncDisposable {
  readonly library: LargeLibrary
  /** With the role `api`, and its token that of the first account. */
  readonly api: Member
  readonly url: string
  readonly client: pg.Client
  readonly accountId: string
  readonly ids: readonly string[]
  costs(): Promise<CatalogCosts>
}

/** Makes them as copies of the row that a real registration left. */
export async function openManyImages(
  server: TestServer,
  folder: string,
  images: number,
): Promise<ManyImages> {
  await using opened = new AsyncDisposableStack()
  const library = await startLargeLibrary({ server })
  opened.defer(async () => {
    await library[Symbol.asyncDispose]()
    await clearStore(library.words.at(-1) ?? '')
  })
  const api = await library.start('api')
  const url = library.words[1] ?? ''
  const client = new pg.Client(url)
  await client.connect()
  opened.defer(() => client.end())
  const worker = await library.start('worker')
  const sources = await makeSources(folder, 1, 64)
  const web = opened.use(await serveFolder(sources.folder))
  const before = await countRows(client)
  const [id] = (await registerAll(api, sources.files.map(web.url))).ids
  const after = await countRows(client)
  await worker.end('SIGTERM')
  const rowsOfOne = Object.fromEntries(
    Object.entries(after)
      .map(([table, rows]) => [table, rows - (before[table] ?? 0)] as const)
      .filter(([, more]) => more > 0),
  )
  const { rows } = await client.query('select account_id from images where id = $1', [id])
  const accountId = String(rows[0]?.account_id)
  console.error(`filling the catalog with ${images} images`)
  await fill(client, { template: id ?? '', accountId, images })
  const listed = await client.query(
    `select id from images where account_id = $1 and status = 'available' limit 10000`,
    [accountId],
  )
  const ids = listed.rows.map((row) => String(row.id))
  const closing = opened.move()
  return {
    ...{ library, api, url, client, accountId, ids },
    async costs() {
      const tables = ['images', 'image_names', 'events']
      const bytes = await Promise.all(
        tables.map(async (table) => (rowsOfOne[table] ?? 0) * (await bytesOfRow(client, table))),
      )
      return { rowsOfOne, bytes: bytes.reduce((total, one) => total + one, 0) }
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}

/** Of all tables of the library. */
async function countRows(client: pg.Client): Promise<Record<string, number>> {
  const { rows } = await client.query(`select relname from pg_stat_user_tables`)
  const counts: Record<string, number> = {}
  for (const { relname } of rows)
    counts[relname] = Number((await client.query(`select count(*) from "${relname}"`)).rows[0]?.count)
  return counts
}

/** With the indexes. */
async function bytesOfRow(client: pg.Client, table: string): Promise<number> {
  const { rows } = await client.query(
    `select pg_total_relation_size('${table}')::float / count(*) as bytes from ${table}`,
  )
  return Number(rows[0]?.bytes)
}

interface Filling {
  readonly template: string
  readonly accountId: string
  readonly images: number
}

async function fill(client: pg.Client, { template, accountId, images }: Filling): Promise<void> {
  const letter = (power: number) =>
    `substr('${LETTERS}', 1 + (i::bigint * ${STRIDE} % ${IDS} / ${36 ** power} % 36)::int, 1)`
  const id = [4, 3, 2, 1, 0].map(letter).join(' || ')
  const account = `case i % ${ACCOUNTS} when 0 then '${accountId}' else 'acc-b' || i % ${ACCOUNTS} end`
  await client.query(`insert into accounts (id, name, status, created_at)
    select 'acc-b' || i, 'bench ' || i, 'active', 1 from generate_series(1, ${ACCOUNTS - 1}) i`)
  await client.query(
    `insert into images select made.* from generate_series(1, ${images}) i
      join images template on template.id = '${template}'
      cross join lateral jsonb_populate_record(template, jsonb_build_object(
        'id', 'img-' || ${id}, 'account_id', ${account}, 'name', 'image ' || i,
        'public', (i / ${ACCOUNTS} % ${PUBLIC} = 0)::int,
        'status', case when i % ${DELETED} = ${DELETED - 1} then 'deleted' else 'available' end,
        'manifest', encode(sha256(i::text::bytea), 'hex'),
        'created_at', template.created_at + i * 1000, 'updated_at', template.created_at + i * 1000)) made
      on conflict do nothing`,
  )
  // As src/model/image-words.ts has it for such names.
  await client.query(
    `insert into image_names (image_id, words, account_id, open)
      select id, words, account_id, (public = 1 and status = 'available')::int
      from images, lateral (values (name), (substr(name, 7))) as starts (words)
      where name like 'image %' and status <> 'deleted' on conflict do nothing`,
  )
  await client.query(
    `insert into events select made.* from generate_series(1, ${images}) i
      join events template
        on template.sequence = (select min(sequence) from events where resource_id = '${template}')
      cross join lateral jsonb_populate_record(template, jsonb_build_object(
        'sequence', template.sequence + 1000 + i, 'id', 'evt-' || ${id}, 'account_id', ${account},
        'resource_id', 'img-' || ${id}, 'created_at', template.created_at + i * 1000)) made
      on conflict do nothing`,
  )
  await client.query(`insert into containers (account_id, name, object_count, bytes_used, created_at,
      updated_at, metadata) values ('${accountId}', 'bench', 0, 0, 1, 1, '{}')`)
  await client.query(`insert into objects (container_id, name, size, md5, content_type, headers, metadata,
      modified_at)
    select container.id, 'folder ' || i / 1000 || '/' || i, 1, '', '', '{}', '{}', 1
    from generate_series(1, ${images}) i, containers container where container.name = 'bench'`)
  await client.query('vacuum analyze')
}
