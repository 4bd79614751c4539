import type { Kysely } from 'kysely'

/** What checks find damaged, the disks that it hurts, and since when an image is hurt. */
export async function createDamageTables(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('images').addColumn('damaged_at', 'bigint').execute()
  await db.schema
    .createTable('damaged_files')
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('why', 'text', (column) => column.notNull())
    .addColumn('found_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('damaged_files_key', ['kind', 'digest'])
    .execute()
  await db.schema
    .createTable('damage_hurts')
    .addColumn('manifest', 'text', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('damage_hurts_key', ['manifest', 'kind', 'digest'])
    .execute()
  await db.schema.createIndex('damage_hurts_file').on('damage_hurts').columns(['kind', 'digest']).execute()
  // Few images are ever hurt, and a look for one by its manifest is rare.
  await db.schema.createIndex('images_manifest').on('images').column('manifest').execute()
}
