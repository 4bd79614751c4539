import type { TableContext } from './context.ts'

/** Processes that are writing blocks which nothing names yet; times in milliseconds since 1970. */
export interface UploadGuards {
  /** Sets or renews: since when what the process writes may still be without a name. */
  set(holder: string, since: number, expiresAt: number): Promise<void>
  remove(holder: string): Promise<void>
  removeExpired(now: number): Promise<void>
  /** Where no process writes. */
  removeAll(): Promise<void>
  /** Of all processes. */
  firstSince(now: number): Promise<number | undefined>
}

export function uploadGuardsTable({ db }: TableContext): UploadGuards {
  return {
    async set(holder, since, expiresAt) {
      const row = { since, expires_at: expiresAt }
      await db
        .insertInto('upload_guards')
        .values({ holder, ...row })
        .onConflict((conflict) => conflict.column('holder').doUpdateSet(row))
        .execute()
    },
    async remove(holder) {
      await db.deleteFrom('upload_guards').where('holder', '=', holder).execute()
    },
    async removeExpired(now) {
      await db.deleteFrom('upload_guards').where('expires_at', '<=', now).execute()
    },
    async removeAll() {
      await db.deleteFrom('upload_guards').execute()
    },
    async firstSince(now) {
      const row = await db
        .selectFrom('upload_guards')
        .select((eb) => eb.fn.min('since').as('since'))
        .where('expires_at', '>', now)
        .executeTakeFirst()
      return row?.since ?? undefined
    },
  }
}
