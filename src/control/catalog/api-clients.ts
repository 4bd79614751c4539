import type { ApiClient, PermissionsGroup } from '#model/api-client.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { ApiClientRow } from './schema.ts'

/** Secrets are kept as SHA-256, 64 hex digits. */
export interface ApiClients {
  insert(client: Omit<ApiClient, 'id'>, secretSha256: string): Promise<ApiClient>
  find(id: string): Promise<ApiClient | undefined>
  findSecret(id: string): Promise<string | undefined>
  /** Those not revoked, oldest first. */
  listOfAccount(accountId: string): Promise<ApiClient[]>
  update(id: string, change: ApiClientChange): Promise<void>
  /** The secret of an application, by which users log in. */
  findApplicationSecret(id: string): Promise<string | undefined>
}

export interface ApiClientChange {
  readonly name?: string | null
  readonly description?: string | null
  readonly permissions?: PermissionsGroup
  readonly secretSha256?: string
  readonly revokedAt?: number
}

export function apiClientsTable({ db, random }: TableContext): ApiClients {
  return {
    async insert(client, secretSha256) {
      const id = await insertWithNewId('cli', random, async (id) => {
        const query = db
          .insertInto('api_clients')
          .values({
            id,
            account_id: client.accountId,
            name: client.name,
            description: client.description,
            permissions: client.permissions,
            secret_sha256: secretSha256,
            created_at: client.createdAt,
            revoked_at: client.revokedAt,
          })
          .onConflict((conflict) => conflict.doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      return { id, ...client }
    },
    async find(id) {
      const row = await db.selectFrom('api_clients').selectAll().where('id', '=', id).executeTakeFirst()
      return row && toApiClient(row)
    },
    async findSecret(id) {
      const row = await db
        .selectFrom('api_clients')
        .select('secret_sha256')
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.secret_sha256
    },
    async listOfAccount(accountId) {
      const rows = await db
        .selectFrom('api_clients')
        .selectAll()
        .where('account_id', '=', accountId)
        .where('revoked_at', 'is', null)
        .orderBy('created_at')
        .orderBy('id')
        .execute()
      return rows.map(toApiClient)
    },
    async update(id, { name, description, permissions, secretSha256, revokedAt }) {
      await db
        .updateTable('api_clients')
        .set({
          ...(name === undefined ? {} : { name }),
          ...(description === undefined ? {} : { description }),
          ...(permissions === undefined ? {} : { permissions }),
          ...(secretSha256 === undefined ? {} : { secret_sha256: secretSha256 }),
          ...(revokedAt === undefined ? {} : { revoked_at: revokedAt }),
        })
        .where('id', '=', id)
        .execute()
    },
    async findApplicationSecret(id) {
      const row = await db
        .selectFrom('applications')
        .select('secret_sha256')
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.secret_sha256
    },
  }
}

function toApiClient(row: ApiClientRow): ApiClient {
  return {
    id: row.id,
    accountId: row.account_id,
    name: row.name,
    description: row.description,
    permissions: row.permissions as PermissionsGroup,
    createdAt: row.created_at,
    revokedAt: row.revoked_at,
  }
}
