import { type Kysely, sql } from 'kysely'
import type { ContainerRecord } from './containers.ts'
import type { TableContext } from './context.ts'
import type { StoredObject } from './objects.ts'
import type { Schema } from './schema.ts'

/** A manifest that an object needs, and the object. */
export interface ObjectRoot {
  readonly manifest: string
  readonly accountId: string
  readonly containerId: number
  readonly container: string
  readonly object: string
}

export interface InlineObject extends Omit<ObjectRoot, 'manifest'> {
  readonly size: number
  readonly md5: string
  /** Null where they are gone. */
  readonly bytes: Uint8Array | null
}

export interface DueObject {
  readonly container: Pick<ContainerRecord, 'id' | 'accountId'>
  readonly object: Pick<StoredObject, 'name' | 'size' | 'bytesId'>
}

type Where = { readonly containerId: number } | { readonly accountId: string }

/** What is looked for in all containers; times as for objects. */
export interface ObjectScans {
  /** Whether an object of the container, of the account, or any at all has expired. */
  isDue(at: number, where?: Where): Promise<boolean>
  /** Expired objects, at most `limit`. */
  listDue(at: number, limit: number, where?: Where): Promise<DueObject[]>
  /** Manifests that objects need, each once, in order, after one. */
  listManifests(after: string, limit: number): Promise<string[]>
  /** The objects that need manifests, in the order of these, then of containers and names. */
  listRoots(after: ObjectRoot | undefined, limit: number): Promise<ObjectRoot[]>
  /** Objects whose bytes stand in the catalog, in the order of containers and names. */
  listInline(after: InlineObject | undefined, limit: number): Promise<InlineObject[]>
}

export function objectScans({ db }: TableContext): ObjectScans {
  return {
    async isDue(at, where) {
      const row = await selectDue(db, at, where).select(sql<number>`1`.as('due')).limit(1).executeTakeFirst()
      return row !== undefined
    },
    async listDue(at, limit, where) {
      const rows = await selectDue(db, at, where)
        .innerJoin('containers as c', 'c.id', 'o.container_id')
        .select(['c.id', 'c.account_id', 'o.name', 'o.size', 'o.bytes_id'])
        .limit(limit)
        .execute()
      return rows.map((row) => ({
        container: { id: row.id, accountId: row.account_id },
        object: { name: row.name, size: row.size, bytesId: row.bytes_id },
      }))
    },
    async listManifests(after, limit) {
      const query = db.selectFrom('objects').select('manifest').distinct().where('manifest', '>', after)
      const rows = await query.orderBy('manifest').limit(limit).$narrowType<{ manifest: string }>().execute()
      return rows.map((row) => row.manifest)
    },
    listRoots: (after, limit) => listRoots(db, after, limit),
    listInline: (after, limit) => listInline(db, after, limit),
  }
}

function selectDue(db: Kysely<Schema>, at: number, where: Where | undefined) {
  const query = db.selectFrom('objects as o').where('o.delete_at', '<=', at)
  if (!where) return query
  if ('containerId' in where) return query.where('o.container_id', '=', where.containerId)
  return query.where('o.container_id', 'in', (eb) =>
    eb.selectFrom('containers').select('containers.id').where('account_id', '=', where.accountId),
  )
}

async function listRoots(db: Kysely<Schema>, after: ObjectRoot | undefined, limit: number) {
  let query = db
    .selectFrom('objects as o')
    .innerJoin('containers as c', 'c.id', 'o.container_id')
    .select(['o.manifest', 'o.container_id', 'c.account_id', 'c.name as container', 'o.name'])
    .where('o.manifest', 'is not', null)
    .$narrowType<{ manifest: string }>()
  if (after) {
    const { manifest, containerId, object } = after
    query = query.where((eb) =>
      eb(eb.refTuple('o.manifest', 'o.container_id', 'o.name'), '>', eb.tuple(manifest, containerId, object)),
    )
  }
  const ordered = query.orderBy('o.manifest').orderBy('o.container_id').orderBy('o.name')
  const rows = await ordered.limit(limit).execute()
  return rows.map((row) => ({
    manifest: row.manifest,
    accountId: row.account_id,
    containerId: row.container_id,
    container: row.container,
    object: row.name,
  }))
}

async function listInline(db: Kysely<Schema>, after: InlineObject | undefined, limit: number) {
  let query = db
    .selectFrom('objects as o')
    .innerJoin('containers as c', 'c.id', 'o.container_id')
    .leftJoin('object_bytes as b', 'b.id', 'o.bytes_id')
    .select(['o.container_id', 'c.account_id', 'c.name as container', 'o.name', 'o.size', 'o.md5', 'b.bytes'])
    .where('o.bytes_id', 'is not', null)
  if (after) {
    const { containerId, object } = after
    query = query.where((eb) =>
      eb(eb.refTuple('o.container_id', 'o.name'), '>', eb.tuple(containerId, object)),
    )
  }
  const rows = await query.orderBy('o.container_id').orderBy('o.name').limit(limit).execute()
  return rows.map((row) => ({
    accountId: row.account_id,
    containerId: row.container_id,
    container: row.container,
    object: row.name,
    size: row.size,
    md5: row.md5,
    bytes: row.bytes,
  }))
}
