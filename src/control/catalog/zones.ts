import type { Zone } from '#model/zone.ts'
import type { TableContext } from './context.ts'

export interface Zones {
  list(): Promise<Zone[]>
}

export function zonesTable({ db }: TableContext): Zones {
  return {
    async list() {
      const rows = await db.selectFrom('zones').selectAll().orderBy('handle').execute()
      return rows.map(({ id, handle }) => ({ id, handle }))
    },
  }
}
