import type { AccountStatus } from '#model/account.ts'
import type { PermissionsGroup } from '#model/api-client.ts'
import type { TableContext } from './context.ts'
import type { TokenRow } from './schema.ts'

/** What a token stands for; of the token itself only the SHA-256 is kept, 64 hex digits. */
export interface Token {
  readonly sha256: string
  readonly kind: 'access' | 'refresh'
  /** The API client that it was given to, else null. */
  readonly clientId: string | null
  /** The application through which the user logged in, else null. */
  readonly applicationId: string | null
  readonly userId: string | null
  readonly scopes: readonly string[]
  readonly permissions: PermissionsGroup
  /** The client's account; null for a user, who may have several. */
  readonly accountId: string | null
  readonly expiresAt: number
}

export interface BearerAccount {
  readonly id: string
  readonly status: AccountStatus
}

export interface TokenBearer {
  /** With the rights that an API client has now, whatever it had when it was given the token. */
  readonly token: Token
  /** Those that its bearer may act on, the one where none is named first. */
  readonly accounts: BearerAccount[]
  /** The hash that is kept of the bearer's password or secret. */
  readonly credential: string
}

export interface Tokens {
  insert(token: Token): Promise<void>
  find(sha256: string): Promise<Token | undefined>
  /** A token of somebody who is still there, and not revoked. */
  findBearer(sha256: string): Promise<TokenBearer | undefined>
  /** @returns whether it was there: of two who remove it at once, one did */
  remove(sha256: string): Promise<boolean>
  removeOfUser(userId: string): Promise<void>
  removeOfClient(clientId: string): Promise<void>
  /** @returns how many were removed */
  removeExpired(before: number): Promise<number>
}

export function tokensTable({ db }: TableContext): Tokens {
  return {
    async insert(token) {
      await db
        .insertInto('tokens')
        .values({
          sha256: token.sha256,
          kind: token.kind,
          client_id: token.clientId,
          application_id: token.applicationId,
          user_id: token.userId,
          scopes: token.scopes.join(' '),
          permissions: token.permissions,
          account_id: token.accountId,
          expires_at: token.expiresAt,
        })
        .execute()
    },
    async find(sha256) {
      const row = await db.selectFrom('tokens').selectAll().where('sha256', '=', sha256).executeTakeFirst()
      return row && toToken(row)
    },
    async findBearer(sha256) {
      // One query, since every request to Orbit begins with it.
      const rows = await db
        .selectFrom('tokens')
        .leftJoin('memberships', 'memberships.user_id', 'tokens.user_id')
        .leftJoin('accounts', (join) =>
          join.on((on) =>
            on('accounts.id', '=', on.fn.coalesce('tokens.account_id', 'memberships.account_id')),
          ),
        )
        .leftJoin('users', 'users.id', 'tokens.user_id')
        .leftJoin('api_clients', (join) =>
          join.onRef('api_clients.id', '=', 'tokens.client_id').on('api_clients.revoked_at', 'is', null),
        )
        .selectAll('tokens')
        .select(['accounts.id as own_id', 'accounts.status as own_status'])
        .select(['users.password', 'api_clients.secret_sha256', 'api_clients.permissions as permitted'])
        .where('tokens.sha256', '=', sha256)
        .orderBy('memberships.position')
        .execute()
      const [first] = rows
      const credential = first?.secret_sha256 ?? first?.password
      if (!first || typeof credential !== 'string') return undefined
      const accounts = rows.flatMap(({ own_id: id, own_status: status }) =>
        id === null || status === null ? [] : [{ id, status: status as AccountStatus }],
      )
      const permissions = first.permitted ?? first.permissions
      return { token: toToken({ ...first, permissions }), accounts, credential }
    },
    async remove(sha256) {
      const query = db.deleteFrom('tokens').where('sha256', '=', sha256).returning('sha256')
      return (await query.executeTakeFirst()) !== undefined
    },
    async removeOfUser(userId) {
      await db.deleteFrom('tokens').where('user_id', '=', userId).execute()
    },
    async removeOfClient(clientId) {
      await db.deleteFrom('tokens').where('client_id', '=', clientId).execute()
    },
    async removeExpired(before) {
      const { numDeletedRows } = await db
        .deleteFrom('tokens')
        .where('expires_at', '<', before)
        .executeTakeFirstOrThrow()
      return Number(numDeletedRows)
    },
  }
}

function toToken(row: TokenRow): Token {
  return {
    sha256: row.sha256,
    kind: row.kind as Token['kind'],
    clientId: row.client_id,
    applicationId: row.application_id,
    userId: row.user_id,
    scopes: row.scopes.split(' ').filter(Boolean),
    permissions: row.permissions as PermissionsGroup,
    accountId: row.account_id,
    expiresAt: row.expires_at,
  }
}
