import type { ServerType } from '#model/server-type.ts'
import type { TableContext } from './context.ts'

export interface ServerTypes {
  /** Smallest first. */
  list(): Promise<ServerType[]>
}

export function serverTypesTable({ db }: TableContext): ServerTypes {
  return {
    async list() {
      const query = db
        .selectFrom('server_types')
        .selectAll()
        .orderBy('ram')
        .orderBy('disk_size')
        .orderBy('id')
      return (await query.execute()).map((row) => ({
        id: row.id,
        name: row.name,
        handle: row.handle,
        status: row.status as ServerType['status'],
        cores: row.cores,
        ram: row.ram,
        diskSize: row.disk_size,
        storageType: row.storage_type as ServerType['storageType'],
      }))
    },
  }
}
