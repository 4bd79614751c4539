import type { Kysely } from 'kysely'
import type { Content } from '#base/content.ts'
import type { Metadata, Timestamp } from '#model/orbit.ts'
import { type ContainerRecord, toContainer } from './containers.ts'
import type { TableContext } from './context.ts'
import { type NameWalk, type Walked, walkNames } from './name-walk.ts'
import {
  type ListedObjectRow,
  toChangedRow,
  toListedObject,
  toObject,
  toObjectRow,
  type WholeObjectRow,
} from './object-rows.ts'
import { type ObjectScans, objectScans } from './object-scans.ts'
import type { Schema } from './schema.ts'

/** An object as it is kept. A dynamic large object is one with `dynamicManifest`, a static one has `large`. */
export interface ObjectRecord {
  readonly name: string
  /** Of what is stored under the name, which is what counts: of a static large object, its manifest of segments. */
  readonly size: number
  /** 32 hex digits, of the same. */
  readonly md5: string
  /** What the segments of a static large object come to, and its ETag. */
  readonly large: { readonly size: number; readonly etag: string } | null
  readonly contentType: string
  readonly headers: Metadata
  readonly metadata: Metadata
  /** As in the X-Object-Manifest header. */
  readonly dynamicManifest: string | null
  /** Seconds since 1970. */
  readonly deleteAt: number | null
  readonly modifiedAt: Timestamp
  readonly content: Content
}

/** One that stands in the catalog. */
export interface StoredObject extends ObjectRecord {
  /** Where inline bytes stand. */
  readonly bytesId: number | null
}

export type ObjectChange = Partial<
  Pick<ObjectRecord, 'contentType' | 'headers' | 'metadata' | 'dynamicManifest' | 'deleteAt' | 'modifiedAt'>
>

export type ListedObject = Pick<
  ObjectRecord,
  'name' | 'size' | 'md5' | 'large' | 'contentType' | 'deleteAt' | 'modifiedAt'
>

/** The time in seconds since 1970 that decides what has expired is handed in as `at`. */
export interface Objects extends ObjectScans {
  /**
   * A container and an object in it, in one query.
   * @returns undefined where there is no such container; `object` undefined where there is none, or it has expired
   */
  find(
    path: { readonly accountId: string; readonly container: string; readonly object: string },
    at: number,
  ): Promise<{ container: ContainerRecord; object: StoredObject | undefined } | undefined>
  /** One object in a container that is known already, also an expired one. */
  findIn(containerId: number, name: string): Promise<StoredObject | undefined>
  /**
   * Writes an object and counts it for the container and the account, in a transaction.
   * @param replaced what stands there, as read in the same transaction after `containers.findToChange`
   */
  put(
    container: Pick<ContainerRecord, 'id' | 'accountId'>,
    object: ObjectRecord,
    replaced: StoredObject | undefined,
  ): Promise<void>
  update(containerId: number, name: string, change: ObjectChange): Promise<void>
  /** Removes what was read in the same transaction, and counts that. */
  remove(
    container: Pick<ContainerRecord, 'id' | 'accountId'>,
    object: Pick<StoredObject, 'name' | 'size' | 'bytesId'>,
  ): Promise<void>
  /** The same for many of one container, some hundreds at most. */
  removeAll(
    container: Pick<ContainerRecord, 'id' | 'accountId'>,
    objects: readonly Pick<StoredObject, 'name' | 'size' | 'bytesId'>[],
  ): Promise<void>
  /** Objects in the order of their names' bytes. Expired ones too: who lists removes them before. */
  walk(containerId: number, walk: NameWalk): Promise<Walked<ListedObject>[]>
  /** The same with everything, their bytes too. */
  walkWhole(containerId: number, walk: Omit<NameWalk, 'groups'>): Promise<StoredObject[]>
}

const OBJECT_COLUMNS = [
  'size',
  'md5',
  'static_size',
  'static_etag',
  'content_type',
  'headers',
  'metadata',
  'dynamic_manifest',
  'delete_at',
  'modified_at',
  'bytes_id',
  'manifest',
  'form',
] as const
const LISTED_COLUMNS = [
  'size',
  'md5',
  'static_size',
  'static_etag',
  'content_type',
  'delete_at',
  'modified_at',
] as const

export function objectsTable(context: TableContext): Objects {
  const { db } = context
  return {
    ...objectReads(context),
    ...objectScans(context),
    async put(container, object, replaced) {
      const { content } = object
      let bytesId: number | null = null
      if (content.kind === 'inline' && content.bytes.length > 0) {
        const insert = db.insertInto('object_bytes').values({ bytes: content.bytes }).returning('id')
        bytesId = (await insert.executeTakeFirstOrThrow()).id
      }
      const { container_id, name, ...row } = toObjectRow(container.id, object, bytesId)
      await db
        .insertInto('objects')
        .values({ container_id, name, ...row })
        .onConflict((conflict) => conflict.columns(['container_id', 'name']).doUpdateSet(row))
        .execute()
      if (replaced) await removeBytes(db, [replaced])
      await count(db, container, replaced ? 0 : 1, object.size - (replaced?.size ?? 0))
    },
    async update(containerId, name, change) {
      const query = db.updateTable('objects').set(toChangedRow(change))
      await query.where('container_id', '=', containerId).where('name', '=', name).execute()
    },
    remove: (container, object) => removeAll(db, container, [object]),
    removeAll: (container, objects) => removeAll(db, container, objects),
  }
}

function objectReads(context: TableContext): Pick<Objects, 'find' | 'findIn' | 'walk' | 'walkWhole'> {
  const { db } = context
  return {
    async find({ accountId, container, object }, at) {
      const row = await db
        .selectFrom('containers as c')
        .leftJoin('objects as o', (join) =>
          join.onRef('o.container_id', '=', 'c.id').on('o.name', '=', object),
        )
        .leftJoin('object_bytes as b', 'b.id', 'o.bytes_id')
        .selectAll('c')
        .select(['o.name as object', 'b.bytes'])
        .select(OBJECT_COLUMNS.map((column) => `o.${column} as o_${column}` as const))
        .where('c.account_id', '=', accountId)
        .where('c.name', '=', container)
        .executeTakeFirst()
      if (!row) return undefined
      const columns = OBJECT_COLUMNS.map((column) => [column, row[`o_${column}`]])
      const whole = { ...Object.fromEntries(columns), name: row.object, bytes: row.bytes }
      const found = row.object === null ? undefined : toObject(whole as WholeObjectRow)
      const isDue = found !== undefined && isExpired(found, at)
      return { container: toContainer(row), object: isDue ? undefined : found }
    },
    async findIn(containerId, name) {
      const row = await selectWhole(db, containerId).where('o.name', '=', name).executeTakeFirst()
      return row && toObject(row)
    },
    walk: (containerId, walk) =>
      walkNames(context, {
        table: 'objects',
        key: 'container_id',
        value: containerId,
        columns: LISTED_COLUMNS,
        walk,
        read: (row: ListedObjectRow) => toListedObject(row),
      }),
    async walkWhole(containerId, { lower, upper, reverse, limit }) {
      let query = selectWhole(db, containerId)
        .orderBy('o.name', reverse ? 'desc' : 'asc')
        .limit(limit)
      if (lower) query = query.where('o.name', lower.inclusive ? '>=' : '>', lower.name)
      if (upper !== undefined) query = query.where('o.name', '<', upper)
      return (await query.execute()).map(toObject)
    },
  }
}

/** @param at seconds since 1970 */
export const isExpired = ({ deleteAt }: Pick<ObjectRecord, 'deleteAt'>, at: number): boolean =>
  deleteAt !== null && deleteAt <= at

const selectWhole = (db: Kysely<Schema>, containerId: number) =>
  db
    .selectFrom('objects as o')
    .leftJoin('object_bytes as b', 'b.id', 'o.bytes_id')
    .selectAll('o')
    .select('b.bytes')
    .where('o.container_id', '=', containerId)

async function removeAll(
  db: Kysely<Schema>,
  container: Pick<ContainerRecord, 'id' | 'accountId'>,
  objects: readonly Pick<StoredObject, 'name' | 'size' | 'bytesId'>[],
): Promise<void> {
  const names = objects.map(({ name }) => name)
  await db.deleteFrom('objects').where('container_id', '=', container.id).where('name', 'in', names).execute()
  await removeBytes(db, objects)
  const bytes = objects.reduce((sum, { size }) => sum + size, 0)
  await count(db, container, -objects.length, -bytes)
}

async function removeBytes(db: Kysely<Schema>, objects: readonly Pick<StoredObject, 'bytesId'>[]) {
  const ids = objects.map(({ bytesId }) => bytesId).filter((id) => id !== null)
  if (ids.length > 0) await db.deleteFrom('object_bytes').where('id', 'in', ids).execute()
}

async function count(
  db: Kysely<Schema>,
  { id, accountId }: Pick<ContainerRecord, 'id' | 'accountId'>,
  objects: number,
  bytes: number,
): Promise<void> {
  if (objects === 0 && bytes === 0) return
  await db
    .updateTable('containers')
    .set((eb) => ({
      object_count: eb('object_count', '+', objects),
      bytes_used: eb('bytes_used', '+', bytes),
    }))
    .where('id', '=', id)
    .execute()
  await db
    .updateTable('accounts')
    .set((eb) => ({
      object_count: eb('object_count', '+', objects),
      bytes_used: eb('bytes_used', '+', bytes),
    }))
    .where('id', '=', accountId)
    .execute()
}
