import type { SshKey } from '#model/ssh-key.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { SshKeyRow } from './schema.ts'

export interface SshKeys {
  /** The owner must not have it: ask `findOfOwner` in the same transaction. */
  insert(key: Omit<SshKey, 'id'>): Promise<SshKey>
  find(id: string): Promise<SshKey | undefined>
  findOfOwner(ownerId: string, fingerprint: string): Promise<SshKey | undefined>
  countOfOwner(ownerId: string): Promise<number>
  /** Those of the account's API clients that are not revoked, and the user's where one is named; oldest first. */
  list(accountId: string, userId: string | null): Promise<SshKey[]>
  remove(id: string): Promise<void>
  removeOfOwner(ownerId: string): Promise<void>
}

export function sshKeysTable({ db, random }: TableContext): SshKeys {
  return {
    async insert(key) {
      const id = await insertWithNewId('key', random, async (id) => {
        const query = db
          .insertInto('ssh_keys')
          .values({
            id,
            owner_id: key.ownerId,
            type: key.type,
            blob: key.blob,
            fingerprint: key.fingerprint,
            name: key.name,
            created_at: key.createdAt,
          })
          .onConflict((conflict) => conflict.column('id').doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      return { id, ...key }
    },
    async find(id) {
      const row = await db.selectFrom('ssh_keys').selectAll().where('id', '=', id).executeTakeFirst()
      return row && toSshKey(row)
    },
    async findOfOwner(ownerId, fingerprint) {
      const query = db.selectFrom('ssh_keys').selectAll().where('owner_id', '=', ownerId)
      const row = await query.where('fingerprint', '=', fingerprint).executeTakeFirst()
      return row && toSshKey(row)
    },
    async countOfOwner(ownerId) {
      const { count } = await db
        .selectFrom('ssh_keys')
        .select((columns) => columns.fn.countAll().as('count'))
        .where('owner_id', '=', ownerId)
        .executeTakeFirstOrThrow()
      return Number(count)
    },
    async list(accountId, userId) {
      const clients = db
        .selectFrom('api_clients')
        .select('id')
        .where('account_id', '=', accountId)
        .where('revoked_at', 'is', null)
      const rows = await db
        .selectFrom('ssh_keys')
        .selectAll()
        .where((key) => key.or([key('owner_id', 'in', clients), key('owner_id', '=', userId ?? '')]))
        .orderBy('created_at')
        .orderBy('id')
        .execute()
      return rows.map(toSshKey)
    },
    async remove(id) {
      await db.deleteFrom('ssh_keys').where('id', '=', id).execute()
    },
    async removeOfOwner(ownerId) {
      await db.deleteFrom('ssh_keys').where('owner_id', '=', ownerId).execute()
    },
  }
}

function toSshKey(row: SshKeyRow): SshKey {
  const { id, type, blob, fingerprint, name } = row
  return { id, ownerId: row.owner_id, type, blob, fingerprint, name, createdAt: row.created_at }
}
