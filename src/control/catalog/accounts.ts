import type { Selectable } from 'kysely'
import type { Account, AccountStatus } from '#model/account.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { AccountRow } from './schema.ts'

export interface Accounts {
  insert(account: Omit<Account, 'id'>): Promise<Account>
  find(id: string): Promise<Account | undefined>
  /** Oldest first. */
  list(): Promise<Account[]>
  rename(id: string, name: string): Promise<void>
}

export function accountsTable({ db, random }: TableContext): Accounts {
  return {
    async insert(account) {
      const { name, status, createdAt } = account
      const id = await insertWithNewId('acc', random, async (id) => {
        const row = { id, name, status, created_at: createdAt }
        const query = db
          .insertInto('accounts')
          .values(row)
          .onConflict((conflict) => conflict.doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      return { id, ...account }
    },
    async find(id) {
      const row = await db.selectFrom('accounts').selectAll().where('id', '=', id).executeTakeFirst()
      return row && toAccount(row)
    },
    async list() {
      const rows = await db.selectFrom('accounts').selectAll().orderBy('created_at').orderBy('id').execute()
      return rows.map(toAccount)
    },
    async rename(id, name) {
      await db.updateTable('accounts').set({ name }).where('id', '=', id).execute()
    },
  }
}

function toAccount(row: Selectable<AccountRow>): Account {
  return { id: row.id, name: row.name, status: row.status as AccountStatus, createdAt: row.created_at }
}
