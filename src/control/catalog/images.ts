import { type Kysely, sql } from 'kysely'
import type { Image, ImageStatus, Progress } from '#model/image.ts'
import type { ShownImage } from '#model/shown-image.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import { addNames, changeNames, foundByName, type NameSearch } from './image-names.ts'
import { ANCESTOR_COLUMNS, type ShownImageRow, toImage, toImageRow, toShownImage } from './image-rows.ts'
import { readMany } from './many-ids.ts'
import type { ImageRow, Schema } from './schema.ts'

/** A place in a listing. */
export interface ImageCursor {
  readonly createdAt: number
  readonly id: string
}

export type ImageChange = Partial<Omit<Image, 'id' | 'accountId' | 'createdAt'>>

export interface Images {
  insert(image: Omit<Image, 'id'>): Promise<Image>
  /** In any status. */
  find(id: string): Promise<Image | undefined>
  findShown(id: string): Promise<ShownImage | undefined>
  /**
   * The account's own images that are not deleted, and the public available ones of others, oldest first, in one query.
   */
  listVisible(accountId: string, page: { after?: ImageCursor; limit?: number }): Promise<ShownImage[]>
  /**
   * Those of them that have a word which begins so, in the order of that word and what follows it, in one query.
   * @param search `beginning` as `foldName` gives it
   */
  listNamed(accountId: string, search: NameSearch): Promise<ShownImage[]>
  /** Snapshots of these servers that are not deleted, oldest first. */
  ofServers(serverIds: readonly string[]): Promise<Image[]>
  listByStatus(status: ImageStatus): Promise<Image[]>
  /** The account's images whose bytes may be read, in the order of their ids. */
  listReadable(accountId: string): Promise<ReadableImage[]>
  /**
   * @param only the statuses in which the change is meant; nothing is changed in another
   * @returns the image as it is now, or undefined where nothing was changed
   */
  update(id: string, change: ImageChange, only: readonly ImageStatus[]): Promise<Image | undefined>
  /** How far a registration is; without effect once it has ended. */
  saveProgress(id: string, progress: Progress, virtualSize: number, dataSize: number): Promise<void>
  /** Of all images that are not deleted. */
  listManifests(): Promise<string[]>
  /** Bytes of data of an account's images that are there: not those that come in, nor those that were destroyed. */
  sumDataSize(accountId: string): Promise<number>
}

export type ReadableImage = Pick<Image, 'id' | 'accountId' | 'createdAt'> & { readonly manifest: string }

export function imagesTable({ db, random }: TableContext): Images {
  return {
    async insert(image) {
      const row = toImageRow(image) as Omit<ImageRow, 'id'>
      const id = await insertWithNewId('img', random, async (id) => {
        const query = db
          .insertInto('images')
          .values({ id, ...row })
          .onConflict((conflict) => conflict.column('id').doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      await addNames(db, [{ id, ...row }])
      return { id, ...image }
    },
    async find(id) {
      const row = await db.selectFrom('images').selectAll().where('id', '=', id).executeTakeFirst()
      return row && toImage(row)
    },
    async findShown(id) {
      const row = await selectShown(db).where('images.id', '=', id).executeTakeFirst()
      return row && toShownImage(row as ShownImageRow)
    },
    async listVisible(accountId, page) {
      const query = selectShown(db)
        .where('images.id', 'in', visibleIds(db, accountId, page))
        .orderBy('images.created_at')
        .orderBy('images.id')
      return (await query.execute()).map((row) => toShownImage(row as ShownImageRow))
    },
    async listNamed(accountId, search) {
      const query = selectShown(db)
        .innerJoin(foundByName(accountId, search).as('found'), 'found.image_id', 'images.id')
        .orderBy('found.words')
        .orderBy('images.id')
      return (await query.execute()).map((row) => toShownImage(row as ShownImageRow))
    },
    ofServers: (serverIds) =>
      readMany(serverIds, async (ids) => {
        const query = db
          .selectFrom('images')
          .selectAll()
          .where('source', 'in', ids)
          // Literals, as the index of snapshots is of such rows only.
          .where('source_type', '=', sql.lit('snapshot'))
          .where('status', '<>', sql.lit('deleted'))
        return (await query.execute()).map(toImage)
      }),
    async listByStatus(status) {
      const rows = await db
        .selectFrom('images')
        .selectAll()
        .where('status', '=', status)
        .orderBy('created_at')
        .execute()
      return rows.map(toImage)
    },
    async listReadable(accountId) {
      const rows = await db
        .selectFrom('images')
        .select(['id', 'manifest', 'created_at'])
        .where('account_id', '=', accountId)
        .where('status', 'in', ['available', 'deprecated'])
        // The index of an account's images is of those that are not deleted.
        .where('status', '<>', sql.lit('deleted'))
        .where('manifest', 'is not', null)
        .$narrowType<{ manifest: string }>()
        .orderBy('id')
        .execute()
      return rows.map(({ id, manifest, created_at: createdAt }) => ({ id, accountId, manifest, createdAt }))
    },
    async update(id, change, only) {
      const row = await db
        .updateTable('images')
        .set(toImageRow(change))
        .where('id', '=', id)
        .where('status', 'in', only)
        .returningAll()
        .executeTakeFirst()
      if (!row) return undefined
      const { name, public: open, status } = change
      await changeNames(db, row, {
        name: name !== undefined,
        reach: open !== undefined || status !== undefined,
      })
      return toImage(row)
    },
    async saveProgress(id, progress, virtualSize, dataSize) {
      await db
        .updateTable('images')
        .set(toImageRow({ progress, virtualSize, dataSize }))
        .where('id', '=', id)
        .where('status', '=', 'creating')
        .execute()
    },
    async listManifests() {
      const rows = await db
        .selectFrom('images')
        .select('manifest')
        .distinct()
        .where('manifest', 'is not', null)
        .where('status', '<>', 'deleted')
        .$narrowType<{ manifest: string }>()
        .execute()
      return rows.map((row) => row.manifest)
    },
    async sumDataSize(accountId) {
      const { total } = await db
        .selectFrom('images')
        .select((eb) => eb.fn.coalesce(eb.fn.sum<number | string>('data_size'), sql.lit(0)).as('total'))
        .where('account_id', '=', accountId)
        .where('status', 'not in', ['creating', 'deleting'])
        // The index of an account's images is of those that are not deleted.
        .where('status', '<>', sql.lit('deleted'))
        .executeTakeFirstOrThrow()
      return Number(total)
    },
  }
}

function selectShown(db: Kysely<Schema>) {
  return db
    .selectFrom('images')
    .leftJoin('images as nested', 'nested.id', 'images.ancestor_id')
    .selectAll('images')
    .select(ANCESTOR_COLUMNS.map((column) => `nested.${column} as nested_${column}` as const))
}

/**
 * Own and public images are two index ranges that are already in order; a page takes at most `limit` from each. One
 * range with "own or public" would have to be sorted as a whole for every page.
 */
function visibleIds(db: Kysely<Schema>, accountId: string, page: { after?: ImageCursor; limit?: number }) {
  const { after, limit } = page
  // The literals are not parameters: a database uses an index of some rows only where the query's text shows it may.
  let own = db
    .selectFrom('images')
    .select(['id', 'created_at'])
    .where('account_id', '=', accountId)
    .where('status', '<>', sql.lit('deleted'))
  let open = db
    .selectFrom('images')
    .select(['id', 'created_at'])
    .where('public', '=', 1)
    .where('status', '=', 'available')
    .where('account_id', '<>', accountId)
  if (after) {
    own = own.where((eb) => eb(eb.refTuple('created_at', 'id'), '>', eb.tuple(after.createdAt, after.id)))
    open = open.where((eb) => eb(eb.refTuple('created_at', 'id'), '>', eb.tuple(after.createdAt, after.id)))
  }
  if (limit !== undefined) {
    own = own.orderBy('created_at').orderBy('id').limit(limit)
    open = open.orderBy('created_at').orderBy('id').limit(limit)
  }
  const both = db
    .selectFrom(own.as('own'))
    .selectAll()
    .unionAll(db.selectFrom(open.as('open')).selectAll())
  let merged = db.selectFrom(both.as('visible')).select('id')
  if (limit !== undefined) merged = merged.orderBy('created_at').orderBy('id').limit(limit)
  return merged
}
