import type { Zone } from '#model/zone.ts'
import type { TableContext } from './context.ts'

export interface Zones {
  /** By their handles. */
  list(): Promise<Zone[]>
  find(idOrHandle: string): Promise<Zone | undefined>
}

export function zonesTable({ db }: TableContext): Zones {
  return {
    async list() {
      const rows = await db.selectFrom('zones').selectAll().orderBy('handle').execute()
      return rows.map(({ id, handle }) => ({ id, handle }))
    },
    async find(idOrHandle) {
      return db
        .selectFrom('zones')
        .select(['id', 'handle'])
        .where((zone) => zone.or([zone('id', '=', idOrHandle), zone('handle', '=', idOrHandle)]))
        .executeTakeFirst()
    },
  }
}
