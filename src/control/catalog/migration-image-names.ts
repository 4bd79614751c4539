import { type Kysely, sql } from 'kysely'
import { addNames } from './image-names.ts'
import type { TableTypes } from './migrations.ts'
import type { Schema } from './schema.ts'

/** Images read at a time. */
const PAGE = 1000

/** What images are found by, and that of all there are; the indexes of a search last, as that is faster. */
export async function createImageNameTable(
  db: Kysely<unknown>,
  { types, clustered }: TableTypes,
): Promise<void> {
  await db.schema
    .createTable('image_names')
    .addColumn('image_id', 'text', (column) => column.notNull())
    .addColumn('words', types.name, (column) => column.notNull())
    .addColumn('account_id', 'text', (column) => column.notNull())
    .addColumn('open', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('image_names_key', ['image_id', 'words'])
    .modifyEnd(clustered)
    .execute()
  await addAll(db as Kysely<Schema>)
  await db.schema
    .createIndex('image_names_own')
    .on('image_names')
    .columns(['account_id', 'words', 'image_id'])
    .execute()
  await db.schema
    .createIndex('image_names_open')
    .on('image_names')
    .columns(['words', 'image_id'])
    .where(sql.ref('open'), '=', sql.lit(1))
    .execute()
}

async function addAll(db: Kysely<Schema>): Promise<void> {
  for (let last = ''; ; ) {
    const images = await db
      .selectFrom('images')
      .select(['id', 'account_id', 'name', 'public', 'status'])
      .where('id', '>', last)
      .orderBy('id')
      .limit(PAGE)
      .execute()
    await addNames(db, images)
    last = images.at(-1)?.id ?? ''
    if (images.length < PAGE) return
  }
}
