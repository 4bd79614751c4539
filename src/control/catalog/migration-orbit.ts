import { type Kysely, sql } from 'kysely'
import type { TableTypes } from './migrations.ts'

/** Containers and objects, and what an account has of them. */
export async function createOrbitTables(
  db: Kysely<unknown>,
  { types, clustered }: TableTypes,
): Promise<void> {
  for (const column of ['container_count', 'object_count', 'bytes_used']) {
    await db.schema
      .alterTable('accounts')
      .addColumn(column, 'bigint', (added) => added.notNull().defaultTo(0))
      .execute()
  }
  await db.schema
    .alterTable('accounts')
    .addColumn('metadata', 'text', (column) => column.notNull().defaultTo('{}'))
    .execute()
  await db.schema
    .alterTable('accounts')
    .addColumn('images_container', 'integer', (column) => column.notNull().defaultTo(1))
    .execute()
  await db.schema
    .createTable('containers')
    .addColumn('id', types.serial, (column) => column.primaryKey())
    .addColumn('account_id', 'text', (column) => column.notNull().references('accounts.id'))
    .addColumn('name', types.name, (column) => column.notNull())
    .addColumn('object_count', 'bigint', (column) => column.notNull())
    .addColumn('bytes_used', 'bigint', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addColumn('metadata', 'text', (column) => column.notNull())
    .addColumn('read_acl', 'text')
    .addColumn('write_acl', 'text')
    .addColumn('versions_mode', 'text')
    .addColumn('versions_container', types.name)
    .addUniqueConstraint('containers_name', ['account_id', 'name'])
    .execute()
  await createObjectTables(db, { types, clustered })
  await db.schema
    .createTable('upload_guards')
    .addColumn('holder', 'text', (column) => column.primaryKey())
    .addColumn('since', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute()
}

async function createObjectTables(db: Kysely<unknown>, { types, clustered }: TableTypes): Promise<void> {
  await db.schema
    .createTable('object_bytes')
    .addColumn('id', types.serial, (column) => column.primaryKey())
    .addColumn('bytes', types.bytes, (column) => column.notNull())
    .execute()
  await db.schema
    .createTable('objects')
    .addColumn('container_id', 'bigint', (column) => column.notNull().references('containers.id'))
    .addColumn('name', types.name, (column) => column.notNull())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('md5', 'text', (column) => column.notNull())
    .addColumn('static_size', 'bigint')
    .addColumn('static_etag', 'text')
    .addColumn('content_type', 'text', (column) => column.notNull())
    .addColumn('headers', 'text', (column) => column.notNull())
    .addColumn('metadata', 'text', (column) => column.notNull())
    .addColumn('dynamic_manifest', 'text')
    .addColumn('delete_at', 'bigint')
    .addColumn('modified_at', 'bigint', (column) => column.notNull())
    .addColumn('bytes_id', 'bigint')
    .addColumn('manifest', 'text')
    .addColumn('form', 'text')
    .addPrimaryKeyConstraint('objects_key', ['container_id', 'name'])
    .modifyEnd(clustered)
    .execute()
  // Few objects ever expire, and those in blocks are the few that collection must know of.
  for (const [name, columns] of [
    ['objects_due', ['delete_at']],
    ['objects_due_in', ['container_id', 'delete_at']],
    ['objects_manifest', ['manifest']],
  ] as const) {
    const last = columns.at(-1) ?? ''
    await db.schema
      .createIndex(name)
      .on('objects')
      .columns([...columns])
      .where(sql.ref(last), 'is not', null)
      .execute()
  }
}
