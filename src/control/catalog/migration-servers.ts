import { type Kysely, sql } from 'kysely'

/** Servers and their volumes, and what an account may have of them. */
export async function createServerTables(db: Kysely<unknown>): Promise<void> {
  for (const column of ['servers_limit', 'ram_limit', 'disk_limit'])
    await db.schema.alterTable('accounts').addColumn(column, 'integer').execute()
  await createServers(db)
  await createVolumes(db)
  await db.schema
    .createIndex('images_snapshots')
    .on('images')
    .column('source')
    .where(sql.ref('source_type'), '=', sql.lit('snapshot'))
    .where(sql.ref('status'), '<>', sql.lit('deleted'))
    .execute()
  // Of what was deleted only the latest is ever listed, so it does not make the lists of what is there slower.
  for (const table of ['servers', 'volumes'] as const) {
    await db.schema
      .createIndex(`${table}_own`)
      .on(table)
      .columns(['account_id', 'created_at', 'id'])
      .where(sql.ref('status'), '<>', sql.lit('deleted'))
      .execute()
    await db.schema
      .createIndex(`${table}_deleted`)
      .on(table)
      .columns(['account_id', 'deleted_at'])
      .where(sql.ref('status'), '=', sql.lit('deleted'))
      .execute()
  }
}

async function createServers(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('servers')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('account_id', 'text', (column) => column.notNull().references('accounts.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('goal', 'text', (column) => column.notNull())
    .addColumn('locked', 'integer', (column) => column.notNull())
    .addColumn('type_id', 'text', (column) => column.notNull().references('server_types.id'))
    .addColumn('cores', 'integer', (column) => column.notNull())
    .addColumn('ram', 'integer', (column) => column.notNull())
    .addColumn('zone_id', 'text', (column) => column.notNull().references('zones.id'))
    .addColumn('image_id', 'text', (column) => column.notNull().references('images.id'))
    .addColumn('compatibility_mode', 'integer', (column) => column.notNull())
    .addColumn('user_data', 'text')
    .addColumn('mac_address', 'text', (column) => column.notNull())
    .addColumn('slot', 'integer', (column) => column.notNull())
    .addColumn('ssh_port', 'integer')
    .addColumn('accelerator', 'text')
    .addColumn('trouble', 'text')
    .addColumn('console', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('started_at', 'bigint')
    .addColumn('deleted_at', 'bigint')
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .execute()
  // A slot stands for a Unix user: two servers of one could read each other's disks.
  await db.schema
    .createIndex('servers_slot')
    .on('servers')
    .column('slot')
    .unique()
    .where(sql.ref('status'), '<>', sql.lit('deleted'))
    .execute()
  await db.schema.createIndex('servers_type').on('servers').column('type_id').execute()
}

async function createVolumes(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('volumes')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('account_id', 'text', (column) => column.notNull().references('accounts.id'))
    .addColumn('server_id', 'text', (column) => column.notNull().references('servers.id'))
    .addColumn('image_id', 'text', (column) => column.notNull().references('images.id'))
    .addColumn('name', 'text')
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('manifest', 'text', (column) => column.notNull())
    .addColumn('image_size', 'bigint', (column) => column.notNull())
    .addColumn('filled', 'bigint', (column) => column.notNull())
    .addColumn('stands_alone', 'integer', (column) => column.notNull())
    .addColumn('layers', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addColumn('deleted_at', 'bigint')
    .execute()
  await db.schema.createIndex('volumes_server').on('volumes').columns(['server_id', 'created_at']).execute()
  // The roots of a collection.
  await db.schema
    .createIndex('volumes_manifest')
    .on('volumes')
    .columns(['stands_alone', 'manifest'])
    .where(sql.ref('status'), '<>', sql.lit('deleted'))
    .execute()
}
