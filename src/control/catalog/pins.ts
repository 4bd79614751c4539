import type { TableContext } from './context.ts'

/** Who is reading which manifest, and until when that counts unless renewed. */
export interface PinRow {
  readonly manifest: string
  readonly holder: string
  /** Milliseconds since 1970; changed by each renewal. */
  readonly expiresAt: number
}

export interface Pins {
  /** Sets or renews. */
  set(manifest: string, holder: string, expiresAt: number): Promise<void>
  remove(manifest: string, holder: string): Promise<void>
  /** Those not renewed in time, and those that would last longer than `lastsMs`: the clock was set back since. */
  listOverdue(now: number, lastsMs: number): Promise<PinRow[]>
  /** Removes one that was not renewed since it was listed. */
  removeUnchanged(row: PinRow): Promise<void>
  listManifests(): Promise<string[]>
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
    async listOverdue(now, lastsMs) {
      return await db
        .selectFrom('reader_pins')
        .select(['manifest', 'holder', 'expires_at as expiresAt'])
        .where((eb) => eb.or([eb('expires_at', '<=', now), eb('expires_at', '>', now + lastsMs)]))
        .execute()
    },
    async removeUnchanged({ manifest, holder, expiresAt }) {
      const query = db.deleteFrom('reader_pins').where('manifest', '=', manifest)
      await query.where('holder', '=', holder).where('expires_at', '=', expiresAt).execute()
    },
    async listManifests() {
      const query = db.selectFrom('reader_pins').select('manifest').distinct()
      return (await query.execute()).map((row) => row.manifest)
    },
  }
}
