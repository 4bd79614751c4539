import { randomBytes } from 'node:crypto'
import { CompiledQuery, Kysely } from 'kysely'
import type { Random } from '#model/ids.ts'
import { type Accounts, accountsTable } from './accounts.ts'
import { type ApiClients, apiClientsTable } from './api-clients.ts'
import { type Containers, containersTable } from './containers.ts'
import type { TableContext } from './context.ts'
import { type Damage, damageTable } from './damage.ts'
import { openSqlite } from './dialect-sqlite.ts'
import { type Events, eventsTable } from './events.ts'
import { type Images, imagesTable } from './images.ts'
import { type Jobs, jobsTable } from './jobs.ts'
import { migrate } from './migrations.ts'
import { type Objects, objectsTable } from './objects.ts'
import { type OrbitAccounts, orbitAccountsTable } from './orbit-accounts.ts'
import { type Pins, pinsTable } from './pins.ts'
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
}

export interface Catalog extends Tables, AsyncDisposable {
  /**
   * All of `change` or nothing of it; on stable storage when the promise resolves. Inside, only the tables handed in
   * may be used: the catalog's own would wait for this transaction to end.
   */
  transaction<T>(change: (tables: Tables) => Promise<T>): Promise<T>
  /** The same for changes that a power failure may undo without harm, such as progress; it waits for no disk. */
  relaxed<T>(change: (tables: Tables) => Promise<T>): Promise<T>
  /** Several reads of one moment, whatever others write meanwhile; nothing may be changed in it. */
  snapshot<T>(read: (tables: Tables) => Promise<T>): Promise<T>
  /** Sees to it that what was deleted is no longer in the files, as far as nobody else is using them right now. */
  erase(): Promise<void>
}

export interface CatalogOptions {
  /** The SQLite file; `:memory:` for a catalog that lives as long as the process. */
  readonly path: string
  readonly random?: Random
}

/** Opens a catalog and brings its tables up to date. @throws unavailable */
export async function openCatalog({ path, random = randomBytes }: CatalogOptions): Promise<Catalog> {
  const dialect = openSqlite(path)
  const db = new Kysely<Schema>({ dialect: dialect.kysely })
  try {
    await migrate(db, dialect)
  } catch (error) {
    await db.destroy()
    throw error
  }
  const on = (part: Kysely<Schema>) => createTables({ db: part, dialect, random })
  return {
    ...on(db),
    transaction: (change) => db.transaction().execute((transaction) => change(on(transaction))),
    relaxed: (change) =>
      // On one connection, so that nobody else's transaction comes between and is relaxed with it.
      db.connection().execute(async (connection) => {
        await connection.executeQuery(CompiledQuery.raw(dialect.relaxed.before))
        try {
          return await connection.transaction().execute((transaction) => change(on(transaction)))
        } finally {
          await connection.executeQuery(CompiledQuery.raw(dialect.relaxed.after))
        }
      }),
    snapshot: (read) =>
      db.connection().execute(async (connection) => {
        await connection.executeQuery(CompiledQuery.raw(dialect.snapshot))
        try {
          return await read(on(connection))
        } finally {
          await connection.executeQuery(CompiledQuery.raw('rollback'))
        }
      }),
    erase: () =>
      db.connection().execute(async (connection) => {
        for (const statement of dialect.erase) await connection.executeQuery(CompiledQuery.raw(statement))
      }),
    [Symbol.asyncDispose]: () => db.destroy(),
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
  }
}
