import type { TableContext } from './context.ts'

/** A lease as it is asked for; times in milliseconds since 1970. */
export interface LeaseWish {
  readonly name: string
  readonly holder: string
  readonly now: number
  readonly lastsMs: number
}

/** Who does what only one process at a time may do. */
export interface Leases {
  /**
   * Takes or renews a lease.
   * @returns whether it is the holder's now; not while another has it
   */
  take(wish: LeaseWish): Promise<boolean>
  /** Gives it back, where it is still the holder's. */
  release(name: string, holder: string): Promise<void>
  /** Ends all, whoever holds them. */
  removeAll(): Promise<void>
}

export function leasesTable({ db }: TableContext): Leases {
  return {
    async take({ name, holder, now, lastsMs }) {
      const row = { holder, expires_at: now + lastsMs }
      const query = db
        .insertInto('leases')
        .values({ name, ...row })
        .onConflict((conflict) =>
          conflict
            .column('name')
            .doUpdateSet(row)
            .where((eb) =>
              eb.or([
                eb('leases.holder', '=', holder),
                eb('leases.expires_at', '<=', now),
                // None was ever given for so long: the clock has been set back since. Those of two processes differ a
                // little, also because one of them had to wait.
                eb('leases.expires_at', '>', now + 2 * lastsMs),
              ]),
            ),
        )
      return (await query.returning('name').executeTakeFirst()) !== undefined
    },
    async release(name, holder) {
      await db.deleteFrom('leases').where('name', '=', name).where('holder', '=', holder).execute()
    },
    async removeAll() {
      await db.deleteFrom('leases').execute()
    },
  }
}
