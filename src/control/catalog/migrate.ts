import type { Kysely } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { LibraryError } from '#base/errors.ts'
import { migrationsOf, type TableTypes } from './migrations.ts'

/** A change of tables. */
export interface Step extends Migration {
  /**
   * The older step from which on programs may go on with tables that have this one, too: it adds what they do without.
   * None where only programs that know this step may.
   */
  readonly since?: string
}

export type Steps = Readonly<Record<string, Step>>

export interface MigrateOptions {
  /** The newest step that is to be made, where older tables are to be filled; by default all. */
  readonly upTo?: string | undefined
  /** By default those of this program. */
  readonly steps?: Steps
}

/**
 * Brings the tables up to date, or to where an older version had them. Newer steps that this program can do without are
 * left as they are: while processes are replaced one by one, both versions run.
 * @throws unavailable where that fails, or the catalog needs a newer program; invalid where it is newer than `upTo`, or
 * that is unknown
 */
export async function migrate<T>(
  db: Kysely<T>,
  types: TableTypes,
  { upTo, steps = migrationsOf(types) }: MigrateOptions = {},
): Promise<void> {
  const migrator = await createMigrator(db, steps)
  if (upTo !== undefined) await demandReachable(migrator, upTo)
  const { error } = await (upTo === undefined ? migrator.migrateToLatest() : migrator.migrateTo(upTo))
  if (error instanceof LibraryError) throw error
  if (error) throw new LibraryError('unavailable', 'bring the catalog up to date', { cause: error })
}

export interface PendingStep {
  readonly name: string
  /** Whether programs that know the tables as they are now can go on with it, so that it needs no standstill. */
  readonly onlyAdds: boolean
}

/** The steps that are still to be made. @throws as `migrate` does */
export async function listPending<T>(db: Kysely<T>, types: TableTypes): Promise<PendingStep[]> {
  const steps = migrationsOf(types)
  const all = await (await createMigrator(db, steps)).getMigrations()
  const last = all.findLast(({ executedAt }) => executedAt)?.name
  return all
    .filter(({ executedAt }) => !executedAt)
    .map(({ name }) => ({ name, onlyAdds: last !== undefined && (steps[name]?.since ?? name) <= last }))
}

async function createMigrator<T>(db: Kysely<T>, steps: Steps): Promise<Migrator> {
  const newer = await listNewer(db as unknown as Kysely<KnownTables>, steps)
  const done = { up: () => Promise.reject(new Error('internal error: it was made already')) }
  const migrations = {
    ...Object.fromEntries(Object.entries(steps).map(([name, step]) => [name, recorded(name, step)])),
    ...Object.fromEntries(newer.map((name) => [name, done])),
  }
  return new Migrator({ db, provider: { getMigrations: async () => migrations } })
}

interface KnownTables {
  kysely_migration: { name: string }
  compatibility: { name: string; since: string }
}

/** From this step on, each says who may go on with it. */
const FIRST_RECORDED = '0009-compatibility'

/** In the transaction of the step itself. */
const recorded = (name: string, { up, since = name }: Step): Migration => ({
  async up(db) {
    await up(db)
    if (name < FIRST_RECORDED) return
    await (db as Kysely<KnownTables>).insertInto('compatibility').values({ name, since }).execute()
  },
})

/** Steps that were made by a newer program, and that we do without. @throws unavailable where we cannot */
async function listNewer(db: Kysely<KnownTables>, steps: Steps): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  const has = (table: keyof KnownTables) => tables.some(({ name }) => name === table)
  if (!has('kysely_migration')) return []
  const made = await db.selectFrom('kysely_migration').select('name').orderBy('name').execute()
  const newer = made.map(({ name }) => name).filter((name) => !Object.hasOwn(steps, name))
  const rows = has('compatibility') ? await db.selectFrom('compatibility').selectAll().execute() : []
  const since = new Map(rows.map((row) => [row.name, row.since]))
  const ours = Object.keys(steps).sort().at(-1) ?? ''
  const beyond = newer.find((name) => (since.get(name) ?? name) > ours)
  if (beyond !== undefined)
    throw new LibraryError(
      'unavailable',
      `use the catalog: its tables have ${beyond}, which is newer than this program`,
      {
        hint: 'use the version of the program that has used it before, or a newer one',
      },
    )
  return newer
}

/** Tables are never made older than they are. */
async function demandReachable(migrator: Migrator, upTo: string): Promise<void> {
  const known = await migrator.getMigrations()
  if (!known.some(({ name }) => name === upTo))
    throw new LibraryError('invalid', `make tables as of ${JSON.stringify(upTo)}: this program is older`, {
      hint: 'use the version of the program that the backup was made with, or a newer one',
    })
  if (known.some(({ name, executedAt }) => name > upTo && executedAt))
    throw new LibraryError('invalid', `make tables as of ${upTo}: the catalog is newer`, {
      hint: 'begin with a new data folder or database',
    })
}
