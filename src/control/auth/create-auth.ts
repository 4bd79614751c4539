import { randomBytes } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Random } from '#model/ids.ts'
import type { Session } from '#model/session.ts'
import { createAccounts } from './accounts.ts'
import { createApiClients } from './api-clients.ts'
import type { Auth, AuthResult, Scope } from './auth.ts'
import { createGrants } from './grants.ts'
import { createIssueTokens } from './issue-tokens.ts'
import { LoginLimits } from './login-limits.ts'
import { createLogins, refused } from './logins.ts'
import { createOrbitLogins } from './orbit-logins.ts'
import { sha256 } from './secrets.ts'
import { createSshKeys } from './ssh-keys.ts'
import { standingBy } from './standing.ts'
import { createStays } from './stays.ts'
import { createUsers } from './users.ts'

/** Expired tokens are told from unknown ones for so long. */
const REMEMBER_EXPIRED_MS = 7 * 24 * 3600_000

export interface AuthOptions {
  readonly catalog: Catalog
  readonly now: () => number
  readonly random?: Random
}

export function createAuth({ catalog, now, random = randomBytes }: AuthOptions): Auth {
  const logins = createLogins({ catalog, limits: new LoginLimits({ now }) })
  const issueTokens = createIssueTokens({ now, random })
  const accounts = createAccounts({ catalog, now })
  const clients = createApiClients({ catalog, now, random })
  const users = createUsers({ catalog, now })

  async function authenticate(accessToken: string, accountId?: string): Promise<AuthResult<Session>> {
    const found = /^[0-9a-f]{40}$/.test(accessToken)
      ? await catalog.tokens.findBearer(sha256(accessToken))
      : undefined
    if (found?.token.kind !== 'access') return refused('invalid_token', 'The access token is unknown.')
    const { token, accounts: own, credential } = found
    if (token.expiresAt <= now()) return refused('expired_token', 'The access token has expired.')
    const { clientId, userId, permissions } = token
    const account = accountId === undefined ? own[0] : own.find(({ id }) => id === accountId)
    if (!account) throw new LibraryError('not_found', `account ${accountId ?? ''} does not exist`)
    if (account.status !== 'active')
      throw new LibraryError('denied', `use account ${account.id}, which is ${account.status}`)
    const scopes = token.scopes as readonly Scope[]
    const standing = standingBy(permissions, credential)
    return { ok: true, value: { accountId: account.id, clientId, userId, permissions, scopes, standing } }
  }

  return {
    issue: createGrants({ catalog, logins, issueTokens, now }),
    authenticate,
    stays: createStays({ catalog }),
    orbit: createOrbitLogins({ catalog, logins, issueTokens, now }),
    accounts: { list: accounts.list, show: accounts.show, update: accounts.update },
    clients: clients.ofSession,
    keys: createSshKeys({ catalog, now }),
    users: { list: users.list, show: users.show, self: users.self, update: users.update },
    operator: {
      createAccount: accounts.create,
      setOrbitQuota: accounts.setOrbitQuota,
      setServerLimits: accounts.setServerLimits,
      listAccounts: () => catalog.accounts.list(),
      setAccountStatus: accounts.setStatus,
      createClient: clients.create,
      revokeClient: clients.revoke,
      createUser: users.create,
      findUser: users.findByEmail,
      setPassword: users.setPassword,
      removeUser: users.remove,
      removeExpiredTokens: () => catalog.tokens.removeExpired(now() - REMEMBER_EXPIRED_MS),
    },
  }
}
