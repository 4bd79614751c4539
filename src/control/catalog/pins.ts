import type { TableContext } from './context.ts'

/** Who is reading which manifest, and until when that counts unless renewed. */
export interface Pins {
  /** Sets or renews. */
  set(manifest: string, holder: string, expiresAt: number): Promise<void>
  remove(manifest: string, holder: string): Promise<void>
  /** None lasts longer than `lastsMs` from now on: those that would were set before the clock was set back. */
  removeExpired(now: number, lastsMs: number): Promise<void>
  listManifests(now: number): Promise<string[]>
}

export function pinsTable({ db }: TableContext): Pins {
  return {
    async set(manifest, holder, expiresAt) {
      await db
        .insertInto('reader_pins')
        .values({ manifest, holder, expires_at: expiresAt })
        .onConflict((conflict) =>
          conflict.columns(['manifest', 'holder']).doUpdateSet({ expires_at: expiresAt }),
        )
        .execute()
    },
    async remove(manifest, holder) {
      await db
        .deleteFrom('reader_pins')
        .where('manifest', '=', manifest)
        .where('holder', '=', holder)
        .execute()
    },
    async removeExpired(now, lastsMs) {
      await db.deleteFrom('reader_pins').where('expires_at', '<=', now).execute()
      const latest = now + lastsMs
      await db
        .updateTable('reader_pins')
        .set({ expires_at: latest })
        .where('expires_at', '>', latest)
        .execute()
    },
    async listManifests(now) {
      const query = db.selectFrom('reader_pins').select('manifest').distinct().where('expires_at', '>', now)
      return (await query.execute()).map((row) => row.manifest)
    },
  }
}
