import { sql } from 'kysely'
import type { Volume, VolumeStatus } from '#model/volume.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import { readMany } from './many-ids.ts'
import type { VolumeRow } from './schema-servers.ts'
import { toRow } from './to-row.ts'

export interface Volumes {
  insert(volume: Omit<Volume, 'id'>): Promise<Volume>
  find(id: string): Promise<Volume | undefined>
  /** Of servers, also of deleted ones; oldest first. */
  ofServers(serverIds: readonly string[]): Promise<Volume[]>
  /** Of an account, oldest first: those that exist, and those deleted at or after `deletedSince`. */
  list(accountId: string, deletedSince: number): Promise<Volume[]>
  update(
    id: string,
    change: Partial<Omit<Volume, 'id' | 'accountId' | 'serverId'>>,
  ): Promise<Volume | undefined>
  /** Of volumes that still need them: those that exist and do not stand alone. */
  listManifests(): Promise<string[]>
  /** Bytes of those of an account that are not deleted. */
  sumSize(accountId: string): Promise<number>
}

export function volumesTable({ db, random }: TableContext): Volumes {
  // A literal, not a parameter: a database uses an index of some rows only where the query's text shows it may.
  const existing = () => db.selectFrom('volumes').where('status', '<>', sql.lit('deleted'))

  return {
    async insert(volume) {
      const row = toRow(volume) as Omit<VolumeRow, 'id'>
      const id = await insertWithNewId('vol', random, async (id) => {
        const query = db
          .insertInto('volumes')
          .values({ id, ...row })
          .onConflict((conflict) => conflict.column('id').doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      return { id, ...volume }
    },
    async find(id) {
      const row = await db.selectFrom('volumes').selectAll().where('id', '=', id).executeTakeFirst()
      return row && toVolume(row)
    },
    ofServers: (serverIds) =>
      readMany(serverIds, async (ids) => {
        const query = db.selectFrom('volumes').selectAll().where('server_id', 'in', ids)
        return (await query.execute()).map(toVolume)
      }),
    async list(accountId, deletedSince) {
      const deleted = db
        .selectFrom('volumes')
        .select('id')
        .where('account_id', '=', accountId)
        .where('status', '=', sql.lit('deleted'))
        .where('deleted_at', '>=', deletedSince)
      const listed = existing().select('id').where('account_id', '=', accountId).unionAll(deleted)
      const query = db.selectFrom('volumes').selectAll().where('id', 'in', listed)
      return (await query.orderBy('created_at').orderBy('id').execute()).map(toVolume)
    },
    async update(id, change) {
      const query = db.updateTable('volumes').set(toRow(change)).where('id', '=', id)
      const row = await query.returningAll().executeTakeFirst()
      return row && toVolume(row)
    },
    async listManifests() {
      const query = existing().select('manifest').distinct().where('stands_alone', '=', 0)
      return (await query.execute()).map(({ manifest }) => manifest)
    },
    async sumSize(accountId) {
      const { total } = await existing()
        .select(({ fn }) => fn.sum<number | string | null>('size').as('total'))
        .where('account_id', '=', accountId)
        .executeTakeFirstOrThrow()
      return Number(total ?? 0)
    },
  }
}

function toVolume(row: VolumeRow): Volume {
  return {
    id: row.id,
    accountId: row.account_id,
    serverId: row.server_id,
    imageId: row.image_id,
    name: row.name,
    status: row.status as VolumeStatus,
    size: row.size,
    manifest: row.manifest,
    imageSize: row.image_size,
    filled: row.filled,
    standsAlone: row.stands_alone === 1,
    layers: JSON.parse(row.layers) as string[],
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    deletedAt: row.deleted_at,
  }
}
