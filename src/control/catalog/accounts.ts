import type { Selectable } from 'kysely'
import type { Account, AccountStatus } from '#model/account.ts'
import type { AccountLimits, Limit } from '#model/account-limits.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { AccountRow } from './schema.ts'

export interface Accounts {
  insert(account: Omit<Account, 'id'>): Promise<Account>
  find(id: string): Promise<Account | undefined>
  /** Oldest first. */
  list(): Promise<Account[]>
  rename(id: string, name: string): Promise<void>
  setStatus(id: string, status: AccountStatus): Promise<void>
  /** All by default where there is no such account. */
  limits(id: string): Promise<AccountLimits>
  setLimits(id: string, limits: Partial<AccountLimits>): Promise<void>
}

/** As a column has it: null by default. */
const NO_LIMIT = -1

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
    async setStatus(id, status) {
      await db.updateTable('accounts').set({ status }).where('id', '=', id).execute()
    },
    async limits(id) {
      const query = db.selectFrom('accounts').select(['servers_limit', 'ram_limit', 'disk_limit'])
      const row = await query.where('id', '=', id).executeTakeFirst()
      return {
        servers: toLimit(row?.servers_limit),
        ram: toLimit(row?.ram_limit),
        disk: toLimit(row?.disk_limit),
      }
    },
    async setLimits(id, { servers, ram, disk }) {
      const change = {
        ...(servers === undefined ? {} : { servers_limit: toColumn(servers) }),
        ...(ram === undefined ? {} : { ram_limit: toColumn(ram) }),
        ...(disk === undefined ? {} : { disk_limit: toColumn(disk) }),
      }
      if (Object.keys(change).length === 0) return
      await db.updateTable('accounts').set(change).where('id', '=', id).execute()
    },
  }
}

function toAccount(row: Selectable<AccountRow>): Account {
  return { id: row.id, name: row.name, status: row.status as AccountStatus, createdAt: row.created_at }
}

function toLimit(column: number | null | undefined): Limit {
  if (column === null || column === undefined) return 'default'
  return column === NO_LIMIT ? 'none' : column
}

function toColumn(limit: Limit): number | null {
  if (limit === 'default') return null
  return limit === 'none' ? NO_LIMIT : limit
}
