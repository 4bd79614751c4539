import { randomBytes } from 'node:crypto'
import { CompiledQuery, type Dialect, Kysely } from 'kysely'
import type { Random } from '#model/ids.ts'
import { type Accounts, accountsTable } from './accounts.ts'
import { type ApiClients, apiClientsTable } from './api-clients.ts'
import { Changes, type Topic } from './changes.ts'
import { type Containers, containersTable } from './containers.ts'
import type { TableContext } from './context.ts'
import { type Damage, damageTable } from './damage.ts'
import type { CatalogDialect, TransactionKind } from './dialect.ts'
import { openPostgres } from './dialect-postgres.ts'
import { openSqlite } from './dialect-sqlite.ts'
import { type Events, eventsTable } from './events.ts'
import { type Images, imagesTable } from './images.ts'
import { type Jobs, jobsTable } from './jobs.ts'
import { type Leases, leasesTable } from './leases.ts'
import { listPending, type MigrateOptions, migrate, type PendingStep } from './migrate.ts'
import { type Objects, objectsTable } from './objects.ts'
import { type OrbitAccounts, orbitAccountsTable } from './orbit-accounts.ts'
import { type Pins, pinsTable } from './pins.ts'
import { type Rows, rowsTable } from './rows.ts'
import type { Schema } from './schema.ts'
import { type ServerTypes, serverTypesTable } from './server-types.ts'
import { type Servers, serversTable } from './servers.ts'
import { type Settings, settingsTable } from './settings.ts'
import { type SshKeys, sshKeysTable } from './ssh-keys.ts'
import { type Tokens, tokensTable } from './tokens.ts'
import { type UploadGuards, uploadGuardsTable } from './upload-guards.ts'
import { type Users, usersTable } from './users.ts'
import { type Volumes, volumesTable } from './volumes.ts'
import { type Zones, zonesTable } from './zones.ts'

/** The records of who owns what, one member a table. */
export interface Tables {
  readonly accounts: Accounts
  readonly users: Users
  readonly apiClients: ApiClients
  readonly tokens: Tokens
  readonly images: Images
  readonly jobs: Jobs
  readonly events: Events
  readonly pins: Pins
  readonly serverTypes: ServerTypes
  readonly zones: Zones
  readonly sshKeys: SshKeys
  readonly settings: Settings
  readonly orbitAccounts: OrbitAccounts
  readonly containers: Containers
  readonly objects: Objects
  readonly uploadGuards: UploadGuards
  readonly servers: Servers
  readonly volumes: Volumes
  readonly damage: Damage
  readonly leases: Leases
  readonly rows: Rows
}

export interface Catalog extends Tables, AsyncDisposable {
  /**
   * All of `change` or nothing of it; on stable storage when the promise resolves. One at a time in all processes, so
   * that what it has read is still so when it writes. Inside, only the tables handed in may be used: the catalog's own
   * would wait for this transaction to end.
   */
  transaction<T>(change: (tables: Tables) => Promise<T>): Promise<T>
  /** The same for changes that a power failure may undo without harm, such as progress; it waits for no disk. */
  relaxed<T>(change: (tables: Tables) => Promise<T>): Promise<T>
  /**
   * The same, and it waits for no other transaction: for a statement that is right by itself, whatever others change
   * at that moment, and changes one row.
   */
  beside<T>(change: (tables: Tables) => Promise<T>): Promise<T>
  /** Several reads of one moment, whatever others write meanwhile; nothing may be changed in it. */
  snapshot<T>(read: (tables: Tables) => Promise<T>): Promise<T>
  /**
   * Calls `listener` after such rows were changed in transactions, of this process or others, until disposed of. It may
   * be called for nothing, and not where a connection is lost: who must not miss anything looks now and then, too.
   */
  onChange(topic: Topic, listener: () => void): Disposable
  /** Sees to it that what was deleted is no longer in the files, as far as nobody else is using them right now. */
  erase(): Promise<void>
}

/** A SQLite file, `:memory:` for a catalog that lives as long as the process; or a PostgreSQL database. */
export type CatalogPlace =
  | { readonly path: string }
  | {
      /** As libpq's, such as postgres://user@host/database, without a password. */
      readonly url: string
      /** At most. */
      readonly connections?: number
    }

export type CatalogOptions = CatalogPlace & {
  readonly random?: Random
  /** The newest migration that is to be made, where older tables are to be filled; by default all. */
  readonly upTo?: string
}

/** Opens a catalog and brings its tables up to date. @throws unavailable; invalid where that can be no catalog */
export async function openCatalog(options: CatalogOptions): Promise<Catalog> {
  const { random = randomBytes, upTo, ...place } = options
  return await openOn(openDialect(place), random, { upTo })
}

/** The database alone, whatever tables it has. */
export const openDialect = (place: CatalogPlace): CatalogDialect =>
  'path' in place ? openSqlite(place.path) : openPostgres(place)

/** The changes of tables that are still to be made, in order; makes none. @throws unavailable */
export async function pendingMigrations(place: CatalogPlace): Promise<PendingStep[]> {
  const dialect = openDialect(place)
  await using db = new Kysely<Schema>({ dialect: dialect.kysely })
  return await listPending(db, dialect)
}

/** The same for a database that is open, and is closed with the catalog. */
export async function openOn(
  dialect: CatalogDialect,
  random: Random,
  options: MigrateOptions = {},
): Promise<Catalog> {
  await using opened = new AsyncDisposableStack()
  const open = (which: Dialect) =>
    opened.adopt(new Kysely<Schema>({ dialect: which, plugins: [...dialect.plugins] }), (db) => db.destroy())
  const db = open(dialect.kysely)
  await dialect.demandUsable?.(db)
  const writing = dialect.writing === dialect.kysely ? db : open(dialect.writing)
  await migrate(dialect.migrating === dialect.kysely ? db : open(dialect.migrating), dialect, options)
  const changes = new Changes()
  const on = (part: Kysely<Schema>, touch: (topic: Topic) => void) =>
    createTables({ db: part, dialect, random, touch })

  async function within<T>(kind: TransactionKind, change: (tables: Tables) => Promise<T>): Promise<T> {
    const isAlone = kind === 'transaction' || kind === 'relaxed'
    const topics = new Set<Topic>()
    const result = await (isAlone ? writing : db).connection().execute((connection) => {
      const tables = on(connection, (topic) => topics.add(topic))
      return inTransaction({ connection, dialect, kind, topics }, () => change(tables))
    })
    for (const topic of topics) changes.tell(topic)
    return result
  }

  let isListening = false
  const closing = opened.move()
  return {
    ...on(db, (topic) => changes.tell(topic)),
    transaction: (change) => within('transaction', change),
    relaxed: (change) => within('relaxed', change),
    beside: (change) => within('beside', change),
    snapshot: (read) => within('snapshot', read),
    onChange(topic, listener) {
      if (!isListening && dialect.listen) closing.use(dialect.listen((heard) => changes.tell(heard)))
      isListening = true
      return changes.subscribe(topic, listener)
    },
    erase: () =>
      db.connection().execute(async (connection) => {
        for (const statement of dialect.erase) await connection.executeQuery(CompiledQuery.raw(statement))
      }),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}

interface Transaction {
  /** One, so that nobody else's transaction comes between and is relaxed with it. */
  readonly connection: Kysely<Schema>
  readonly dialect: CatalogDialect
  readonly kind: TransactionKind
  readonly topics: ReadonlySet<Topic>
}

async function inTransaction<T>(
  { connection, dialect, kind, topics }: Transaction,
  change: () => Promise<T>,
) {
  const run = (statement: string) => connection.executeQuery(CompiledQuery.raw(statement))
  const { before, after } = dialect.transactions[kind]
  try {
    for (const statement of before) await run(statement)
    try {
      const result = await change()
      await run(dialect.commit(topics))
      return result
    } catch (error) {
      // What went wrong first counts; where there is no connection any more, there is nothing to undo.
      await run('rollback').catch(() => {})
      throw error
    }
  } finally {
    for (const statement of after) await run(statement)
  }
}

function createTables(context: TableContext): Tables {
  return {
    accounts: accountsTable(context),
    users: usersTable(context),
    apiClients: apiClientsTable(context),
    tokens: tokensTable(context),
    images: imagesTable(context),
    jobs: jobsTable(context),
    events: eventsTable(context),
    pins: pinsTable(context),
    serverTypes: serverTypesTable(context),
    zones: zonesTable(context),
    sshKeys: sshKeysTable(context),
    settings: settingsTable(context),
    orbitAccounts: orbitAccountsTable(context),
    containers: containersTable(context),
    objects: objectsTable(context),
    uploadGuards: uploadGuardsTable(context),
    servers: serversTable(context),
    volumes: volumesTable(context),
    damage: damageTable(context),
    leases: leasesTable(context),
    rows: rowsTable(context),
  }
}
