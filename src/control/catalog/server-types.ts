import type { ServerType } from '#model/server-type.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { ServerTypeRow } from './schema.ts'
import { toRow } from './to-row.ts'

export interface ServerTypes {
  /** Smallest first. */
  list(): Promise<ServerType[]>
  find(idOrHandle: string): Promise<ServerType | undefined>
  /** The handle must be free: ask `find` in the same transaction. */
  insert(type: Omit<ServerType, 'id'>): Promise<ServerType>
  update(id: string, change: Partial<Omit<ServerType, 'id'>>): Promise<ServerType | undefined>
  /** Without effect where a server was ever built as it. @returns whether it is gone */
  remove(id: string): Promise<boolean>
}

export function serverTypesTable({ db, random }: TableContext): ServerTypes {
  const select = () => db.selectFrom('server_types').selectAll()
  return {
    async list() {
      const query = select().orderBy('ram').orderBy('disk_size').orderBy('id')
      return (await query.execute()).map(toServerType)
    },
    async find(idOrHandle) {
      const query = select().where((type) =>
        type.or([type('id', '=', idOrHandle), type('handle', '=', idOrHandle)]),
      )
      const row = await query.executeTakeFirst()
      return row && toServerType(row)
    },
    async insert(type) {
      const row = toRow(type) as Omit<ServerTypeRow, 'id'>
      const id = await insertWithNewId('typ', random, async (id) => {
        const query = db
          .insertInto('server_types')
          .values({ id, ...row })
          .onConflict((conflict) => conflict.column('id').doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      return { id, ...type }
    },
    async update(id, change) {
      const query = db.updateTable('server_types').set(toRow(change)).where('id', '=', id)
      const row = await query.returningAll().executeTakeFirst()
      return row && toServerType(row)
    },
    async remove(id) {
      const query = db
        .deleteFrom('server_types')
        .where('id', '=', id)
        .where(({ not, exists, selectFrom }) =>
          not(exists(selectFrom('servers').select('servers.id').where('type_id', '=', id))),
        )
      return (await query.returning('id').executeTakeFirst()) !== undefined
    },
  }
}

function toServerType(row: ServerTypeRow): ServerType {
  return {
    id: row.id,
    name: row.name,
    handle: row.handle,
    status: row.status as ServerType['status'],
    cores: row.cores,
    ram: row.ram,
    diskSize: row.disk_size,
    storageType: row.storage_type as ServerType['storageType'],
  }
}
