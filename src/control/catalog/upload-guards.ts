import type { TableContext } from './context.ts'

/** Earlier than any generation of a store: whoever began in it keeps all that is stored. */
export const KEEP_ALL = 0

/** A process that is writing blocks which nothing names yet. */
export interface GuardRow {
  readonly holder: string
  /** Milliseconds since 1970; changed by each renewal. */
  readonly expiresAt: number
}

export interface UploadGuards {
  /** Sets or renews: since which generation of the store what the process writes may still be without a name. */
  set(holder: string, since: number, expiresAt: number): Promise<void>
  remove(holder: string): Promise<void>
  /** Those not renewed in time, and those that would last longer than `lastsMs`: the clock was set back since. */
  listOverdue(now: number, lastsMs: number): Promise<GuardRow[]>
  /** Removes one that was not renewed since it was listed. */
  removeUnchanged(row: GuardRow): Promise<void>
  /** Where no process writes; that of a backup, which keeps everything, stays. */
  removeAll(): Promise<void>
  /** Of all processes. */
  firstSince(): Promise<number | undefined>
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
    async listOverdue(now, lastsMs) {
      return await db
        .selectFrom('upload_guards')
        .select(['holder', 'expires_at as expiresAt'])
        .where((eb) => eb.or([eb('expires_at', '<=', now), eb('expires_at', '>', now + lastsMs)]))
        .execute()
    },
    async removeUnchanged({ holder, expiresAt }) {
      const query = db.deleteFrom('upload_guards').where('holder', '=', holder)
      await query.where('expires_at', '=', expiresAt).execute()
    },
    async removeAll() {
      await db.deleteFrom('upload_guards').where('since', '>', KEEP_ALL).execute()
    },
    async firstSince() {
      const row = await db
        .selectFrom('upload_guards')
        .select((eb) => eb.fn.min('since').as('since'))
        .executeTakeFirst()
      return row?.since ?? undefined
    },
  }
}
