import type { User } from '#model/user.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { UserRow } from './schema.ts'

/** `password` is the slow hash of one, as control/auth makes it. */
export interface Users {
  /** The email must not be taken: ask `findByEmail` in the same transaction. */
  insert(user: Omit<User, 'id'>, password: string): Promise<User>
  find(id: string): Promise<User | undefined>
  findByEmail(email: string): Promise<User | undefined>
  findPassword(id: string): Promise<string | undefined>
  /** Oldest first. */
  listOfAccount(accountId: string): Promise<User[]>
  update(id: string, change: UserChange): Promise<void>
  leave(id: string, accountId: string): Promise<void>
  /** His tokens and SSH keys must be gone. */
  remove(id: string): Promise<void>
}

export interface UserChange {
  readonly name?: string
  readonly email?: string
  readonly sshKey?: string | null
  readonly password?: string
}

export function usersTable({ db, random }: TableContext): Users {
  const withAccounts = async (row: UserRow | undefined): Promise<User | undefined> => {
    if (!row) return undefined
    const query = db.selectFrom('memberships').select('account_id').where('user_id', '=', row.id)
    const memberships = await query.orderBy('position').execute()
    return toUser(
      row,
      memberships.map((membership) => membership.account_id),
    )
  }
  return {
    async insert(user, password) {
      const { name, email, sshKey, createdAt } = user
      const id = await insertWithNewId('usr', random, async (id) => {
        const row = { id, name, email: email.toLowerCase(), ssh_key: sshKey, password, created_at: createdAt }
        const query = db
          .insertInto('users')
          .values(row)
          .onConflict((conflict) => conflict.column('id').doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      for (const [position, accountId] of user.accountIds.entries()) {
        await db.insertInto('memberships').values({ user_id: id, account_id: accountId, position }).execute()
      }
      return { id, ...user, email: email.toLowerCase() }
    },
    async find(id) {
      return withAccounts(await db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst())
    },
    async findByEmail(email) {
      const query = db.selectFrom('users').selectAll().where('email', '=', email.toLowerCase())
      return withAccounts(await query.executeTakeFirst())
    },
    async findPassword(id) {
      const row = await db.selectFrom('users').select('password').where('id', '=', id).executeTakeFirst()
      return row?.password
    },
    async listOfAccount(accountId) {
      const rows = await db
        .selectFrom('users')
        .innerJoin('memberships as own', 'own.user_id', 'users.id')
        .innerJoin('memberships', 'memberships.user_id', 'users.id')
        .where('own.account_id', '=', accountId)
        .selectAll('users')
        .select('memberships.account_id')
        .orderBy('users.created_at')
        .orderBy('users.id')
        .orderBy('memberships.position')
        .execute()
      const byId = Map.groupBy(rows, (row) => row.id)
      return [...byId.values()].flatMap((group) =>
        group.slice(0, 1).map((row) =>
          toUser(
            row,
            group.map((membership) => membership.account_id),
          ),
        ),
      )
    },
    async update(id, { name, email, sshKey, password }) {
      await db
        .updateTable('users')
        .set({
          ...(name === undefined ? {} : { name }),
          ...(email === undefined ? {} : { email: email.toLowerCase() }),
          ...(sshKey === undefined ? {} : { ssh_key: sshKey }),
          ...(password === undefined ? {} : { password }),
        })
        .where('id', '=', id)
        .execute()
    },
    async leave(id, accountId) {
      const query = db.deleteFrom('memberships').where('user_id', '=', id)
      await query.where('account_id', '=', accountId).execute()
    },
    async remove(id) {
      await db.deleteFrom('memberships').where('user_id', '=', id).execute()
      await db.deleteFrom('users').where('id', '=', id).execute()
    },
  }
}

function toUser(row: UserRow, accountIds: readonly string[]): User {
  const { id, name, email } = row
  return { id, name, email, sshKey: row.ssh_key, createdAt: row.created_at, accountIds }
}
