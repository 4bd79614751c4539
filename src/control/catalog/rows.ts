import { type Kysely, sql } from 'kysely'
import { LibraryError } from '#base/errors.ts'
import type { TableContext } from './context.ts'
import type { Row } from './row-lines.ts'
import type { Schema } from './schema.ts'

interface MovedTable {
  readonly key: readonly string[]
  /** Rows read at a time where those may be large. */
  readonly page?: number
  /** A column that names another row of the same table. */
  readonly ownReference?: string
  /** A column whose numbers an insert without it draws. */
  readonly serial?: string
}

/** What goes along where a library moves, each table behind those that it refers to. */
const MOVED = {
  accounts: { key: ['id'] },
  users: { key: ['id'] },
  memberships: { key: ['user_id', 'account_id'] },
  api_clients: { key: ['id'] },
  applications: { key: ['id'] },
  ssh_keys: { key: ['id'] },
  server_types: { key: ['id'] },
  zones: { key: ['id'] },
  settings: { key: ['name'] },
  counters: { key: ['name'] },
  images: { key: ['id'], ownReference: 'ancestor_id' },
  image_names: { key: ['image_id', 'words'] },
  jobs: { key: ['id'], page: 16 },
  events: { key: ['sequence'] },
  containers: { key: ['id'], serial: 'id' },
  object_bytes: { key: ['id'], page: 16, serial: 'id' },
  objects: { key: ['container_id', 'name'] },
  servers: { key: ['id'] },
  volumes: { key: ['id'] },
  damaged_files: { key: ['kind', 'digest'] },
  damage_hurts: { key: ['manifest', 'kind', 'digest'] },
} satisfies Partial<Record<keyof Schema, MovedTable>>

/** Says who is doing something at this moment, or has logged in; or is made anew with the tables. */
export const NOT_MOVED = ['tokens', 'reader_pins', 'upload_guards', 'leases', 'compatibility'] as const

export type MovedName = keyof typeof MOVED

/** The tables that move, each behind those that it refers to. */
export const MOVED_TABLES = Object.keys(MOVED) as readonly MovedName[]

/** The setting that says that a catalog is being filled, or was left. */
export const MOVING = 'moving'

const PAGE = 500
/** Rows inserted by one statement; each column of each is a parameter, of which there may be 32766. */
const INSERTED = 100

/** Whole tables as they stand, for backups and for libraries that move from database to database. */
export interface Rows {
  /** What the tables look like: the name of the newest migration. */
  version(): Promise<string>
  /** All rows of a table; a job as one that nobody works at. */
  read(table: string): AsyncGenerator<Row>
  /** Whether nothing was ever kept in this catalog but what each new one begins with. */
  isEmpty(): Promise<boolean>
  /** Removes every row that a catalog moves with. */
  clear(): Promise<void>
  /**
   * Fills a table, which must be empty.
   * @param rows called once or twice, for the same rows
   * @throws invalid where there is no such table or column
   */
  fill(table: string, rows: () => AsyncIterable<Row>): Promise<void>
  /** Has every change of what moves fail with `unavailable`, whoever tries it, until `acceptChanges`. */
  refuseChanges(): Promise<void>
  acceptChanges(): Promise<void>
}

type AnyTables = Record<string, Record<string, unknown>>

export function rowsTable({ db: typed, dialect }: TableContext): Rows {
  const db = typed as unknown as Kysely<AnyTables>
  const tableOf = (name: string): MovedTable => {
    if (Object.hasOwn(MOVED, name)) return MOVED[name as MovedName]
    throw new LibraryError('invalid', `use a catalog: there is no table ${JSON.stringify(name)}`)
  }
  const run = async (statements: readonly string[]) => {
    for (const statement of statements) await sql.raw(statement).execute(db)
  }

  async function insert(table: string, rows: readonly Row[]): Promise<void> {
    if (rows.length > 0) await db.insertInto(table).values(rows).execute()
  }

  return {
    async version() {
      const query = db.selectFrom('kysely_migration').select('name').orderBy('name', 'desc')
      const newest = await query.limit(1).executeTakeFirstOrThrow()
      return String(newest.name)
    },
    async *read(table) {
      const { key, page = PAGE } = tableOf(table)
      for (let last: Row | undefined; ; ) {
        let query = db.selectFrom(table).selectAll().limit(page)
        for (const column of key) query = query.orderBy(column)
        const after = last
        if (after)
          query = query.where((eb) =>
            eb(eb.refTuple(...tuple(key)), '>', eb.tuple(...tuple(key.map((column) => after[column])))),
          )
        const rows = (await query.execute()) as Row[]
        for (const row of rows) if (isMoved(table, row)) yield table === 'jobs' ? asWaiting(row) : row
        last = rows.at(-1)
        if (rows.length < page || !last) return
      }
    },
    async isEmpty() {
      return (await db.selectFrom('accounts').select('id').limit(1).execute()).length === 0
    },
    async clear() {
      const there = new Set((await db.introspection.getTables()).map(({ name }) => name))
      for (const table of MOVED_TABLES.toReversed())
        if (there.has(table)) await db.deleteFrom(table).execute()
    },
    async fill(table, rows) {
      const { ownReference, serial } = tableOf(table)
      let page: Row[] = []
      for await (const row of rows()) {
        page.push(ownReference === undefined ? row : { ...row, [ownReference]: null })
        if (page.length < INSERTED) continue
        await insert(table, page)
        page = []
      }
      await insert(table, page)
      if (ownReference !== undefined)
        for await (const { id, [ownReference]: other } of rows())
          if (other !== null)
            await db
              .updateTable(table)
              .set({ [ownReference]: other })
              .where('id', '=', id)
              .execute()
      if (serial !== undefined) await run(dialect.moving.restart(table, serial))
    },
    async refuseChanges() {
      for (const table of MOVED_TABLES) await run(dialect.moving.refuse(table))
    },
    async acceptChanges() {
      for (const table of MOVED_TABLES) await run(dialect.moving.accept(table))
    },
  }
}

/** Where a library goes is said of each of its catalogs, and not the same of both. */
const isMoved = (table: string, row: Row) => table !== 'settings' || row.name !== MOVING

/** At least one, which the types of tuples ask for. */
const tuple = <T>(values: readonly T[]) => values as unknown as [T, T]

/** Whoever worked at it does not come along, nor does the store that it counted generations of. */
const asWaiting = (row: Row): Row => ({ ...row, lease_owner: null, lease_until: null, generation: null })
