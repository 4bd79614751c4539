import { type Kysely, sql } from 'kysely'
import type { CatalogDialect } from './dialect.ts'
import type { Steps } from './migrate.ts'
import { createDamageTables } from './migration-damage.ts'
import { createImageNameTable } from './migration-image-names.ts'
import { createLeaseTable } from './migration-leases.ts'
import { createOrbitTables } from './migration-orbit.ts'
import { createServerTables } from './migration-servers.ts'
import { seed } from './seeds.ts'

/** In order of their names; what was once released is never edited, only followed by another. */
export const migrationsOf = ({ types, clustered }: TableTypes): Steps => ({
  '0001-foundation': {
    async up(db) {
      await createAccountTables(db)
      await createImageTables(db)
      await createSmallTables(db)
      await seed(db)
    },
  },
  '0002-orbit': { up: (db) => createOrbitTables(db, { types, clustered }) },
  '0003-ssh-keys': { up: createSshKeyTable },
  '0004-servers': { up: createServerTables },
  '0005-damage': { up: createDamageTables },
  '0006-snapshot-jobs': { up: nameSnapshotJobs },
  '0007-generations': { up: nameGenerations },
  '0008-leases': { up: createLeaseTable },
  '0009-compatibility': { up: createCompatibilityTable, since: '0008-leases' },
  '0010-fair-claims': { up: indexFairClaims, since: '0008-leases' },
  // None may do without it: what an older one registers or renames would not be found.
  '0011-image-names': { up: (db) => createImageNameTable(db, { types, clustered }) },
})

export type TableTypes = Pick<CatalogDialect, 'types' | 'clustered'>

async function createAccountTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('accounts')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute()
  await db.schema
    .createTable('users')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('email', 'text', (column) => column.notNull().unique())
    .addColumn('ssh_key', 'text')
    .addColumn('password', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute()
  await db.schema
    .createTable('memberships')
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id'))
    .addColumn('account_id', 'text', (column) => column.notNull().references('accounts.id'))
    .addColumn('position', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('memberships_key', ['user_id', 'account_id'])
    .execute()
  await db.schema.createIndex('memberships_account').on('memberships').column('account_id').execute()
  await db.schema
    .createTable('api_clients')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('account_id', 'text', (column) => column.notNull().references('accounts.id'))
    .addColumn('name', 'text')
    .addColumn('description', 'text')
    .addColumn('permissions', 'text', (column) => column.notNull())
    .addColumn('secret_sha256', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('revoked_at', 'bigint')
    .execute()
  await db.schema.createIndex('api_clients_account').on('api_clients').column('account_id').execute()
  await db.schema
    .createTable('applications')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('secret_sha256', 'text', (column) => column.notNull())
    .execute()
  await db.schema
    .createTable('tokens')
    .addColumn('sha256', 'text', (column) => column.primaryKey())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('client_id', 'text', (column) => column.references('api_clients.id'))
    .addColumn('application_id', 'text', (column) => column.references('applications.id'))
    .addColumn('user_id', 'text', (column) => column.references('users.id'))
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('permissions', 'text', (column) => column.notNull())
    .addColumn('account_id', 'text', (column) => column.references('accounts.id'))
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute()
  await db.schema.createIndex('tokens_expiry').on('tokens').column('expires_at').execute()
}

async function createImageTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('images')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('account_id', 'text', (column) => column.notNull().references('accounts.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('arch', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('description', 'text')
    .addColumn('username', 'text')
    .addColumn('source_type', 'text', (column) => column.notNull())
    .addColumn('source_trigger', 'text', (column) => column.notNull())
    .addColumn('source', 'text')
    .addColumn('min_ram', 'integer')
    .addColumn('public', 'integer', (column) => column.notNull())
    .addColumn('official', 'integer', (column) => column.notNull())
    .addColumn('compatibility_mode', 'integer', (column) => column.notNull())
    .addColumn('locked', 'integer', (column) => column.notNull())
    .addColumn('licence_name', 'text')
    .addColumn('ancestor_id', 'text', (column) => column.references('images.id'))
    .addColumn('virtual_size', 'bigint', (column) => column.notNull())
    .addColumn('data_size', 'bigint', (column) => column.notNull())
    .addColumn('manifest', 'text')
    .addColumn('provenance', 'text', (column) => column.notNull())
    .addColumn('progress', 'text')
    .addColumn('failure', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .execute()
  // A page of a listing is read straight off these two; deleted images stay in the table for ever.
  await db.schema
    .createIndex('images_own')
    .on('images')
    .columns(['account_id', 'created_at', 'id'])
    .where(sql.ref('status'), '<>', sql.lit('deleted'))
    .execute()
  await db.schema
    .createIndex('images_public')
    .on('images')
    .columns(['public', 'status', 'created_at', 'id'])
    .execute()
  await db.schema
    .createTable('jobs')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('account_id', 'text', (column) => column.notNull().references('accounts.id'))
    .addColumn('payload', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('run_at', 'bigint', (column) => column.notNull())
    .addColumn('attempt', 'integer', (column) => column.notNull())
    .addColumn('failures', 'integer', (column) => column.notNull())
    .addColumn('first_started_at', 'bigint')
    .addColumn('lease_owner', 'text')
    .addColumn('lease_until', 'bigint')
    .addColumn('last_error', 'text')
    .addUniqueConstraint('jobs_subject', ['subject', 'kind'])
    .execute()
  await db.schema.createIndex('jobs_ready').on('jobs').columns(['kind', 'run_at']).execute()
  await db.schema.createIndex('jobs_leased').on('jobs').column('lease_until').execute()
}

async function createSmallTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('events')
    .addColumn('sequence', 'bigint', (column) => column.primaryKey())
    .addColumn('id', 'text', (column) => column.notNull().unique())
    .addColumn('account_id', 'text', (column) => column.notNull())
    .addColumn('resource_id', 'text', (column) => column.notNull())
    .addColumn('action', 'text', (column) => column.notNull())
    .addColumn('message', 'text', (column) => column.notNull())
    .addColumn('client_id', 'text')
    .addColumn('user_id', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute()
  await db.schema.createIndex('events_account').on('events').columns(['account_id', 'sequence']).execute()
  await db.schema.createIndex('events_resource').on('events').columns(['resource_id', 'sequence']).execute()
  await db.schema
    .createTable('reader_pins')
    .addColumn('manifest', 'text', (column) => column.notNull())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('reader_pins_key', ['manifest', 'holder'])
    .execute()
  await db.schema
    .createTable('server_types')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('handle', 'text', (column) => column.notNull().unique())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('cores', 'integer', (column) => column.notNull())
    .addColumn('ram', 'integer', (column) => column.notNull())
    .addColumn('disk_size', 'integer', (column) => column.notNull())
    .addColumn('storage_type', 'text', (column) => column.notNull())
    .execute()
  await db.schema
    .createTable('zones')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('handle', 'text', (column) => column.notNull().unique())
    .execute()
  for (const table of ['settings', 'counters'] as const) {
    await db.schema
      .createTable(table)
      .addColumn('name', 'text', (column) => column.primaryKey())
      .addColumn('value', table === 'settings' ? 'text' : 'bigint', (column) => column.notNull())
      .execute()
  }
}

async function createSshKeyTable(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('ssh_keys')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('owner_id', 'text', (column) => column.notNull())
    .addColumn('type', 'text', (column) => column.notNull())
    .addColumn('blob', 'text', (column) => column.notNull())
    .addColumn('fingerprint', 'text', (column) => column.notNull())
    .addColumn('name', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addUniqueConstraint('ssh_keys_owner', ['owner_id', 'fingerprint'])
    .execute()
}

/** Snapshots were registrations among others; the payload begins with what it is. */
async function nameSnapshotJobs(db: Kysely<unknown>): Promise<void> {
  const old = sql`kind = 'registration' and payload like '{"source":"volume",%'`
  await sql`update jobs set kind = 'snapshot' where ${old}`.execute(db)
}

/** What was a time by the clock is a generation of the store from now on; nobody works while tables change. */
async function nameGenerations(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('jobs').renameColumn('first_started_at', 'generation').execute()
  await sql`update jobs set generation = null`.execute(db)
  await sql`delete from upload_guards`.execute(db)
}

/** A claim goes from account to account, and counts what each one runs. */
async function indexFairClaims(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createIndex('jobs_waiting')
    .on('jobs')
    .columns(['kind', 'account_id', 'run_at', 'created_at'])
    .execute()
  await db.schema
    .createIndex('jobs_running')
    .on('jobs')
    .columns(['kind', 'account_id', 'lease_until'])
    .where(sql.ref('lease_until'), 'is not', null)
    .execute()
  await db.schema.dropIndex('jobs_ready').execute()
}

/** Who may go on with newer tables than it knows, from this step on: programs that know `since`. */
async function createCompatibilityTable(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('compatibility')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('since', 'text', (column) => column.notNull())
    .execute()
}
