import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { Token } from '#control/catalog/tokens.ts'
import { isId, type Random } from '#model/ids.ts'
import type {
  AuthError,
  AuthResult,
  Credentials,
  IssuedTokens,
  Refused,
  Scope,
  TokenRequest,
} from './auth.ts'
import type { LoginLimit } from './login-limit.ts'
import { isBusy, verifyPassword } from './passwords.ts'
import { isSecret, newToken, sha256 } from './secrets.ts'

const ACCESS_SECONDS = 7200
const REFRESH_SECONDS = 30 * 24 * 3600
const BUSY_RETRY_MS = 2000
const SCOPES: readonly Scope[] = ['infrastructure', 'orbit']

export interface GrantsDeps {
  readonly catalog: Catalog
  readonly limit: LoginLimit
  readonly now: () => number
  readonly random: Random
}

/** Who the tokens are for. */
type Bearer = Pick<Token, 'clientId' | 'applicationId' | 'userId' | 'permissions' | 'accountId'>

/** The token endpoint's grants (RFC 6749 sections 4.3, 4.4 and 6). */
export function createGrants({ catalog, limit, now, random }: GrantsDeps) {
  async function issueTokens(
    tables: Pick<Tables, 'tokens'>,
    bearer: Bearer,
    scopes: readonly Scope[],
    withRefresh: boolean,
  ): Promise<AuthResult<IssuedTokens>> {
    const insert = async (kind: Token['kind'], seconds: number) => {
      const token = newToken(random)
      const expiresAt = now() + seconds * 1000
      await tables.tokens.insert({ ...bearer, sha256: sha256(token), kind, scopes, expiresAt })
      return token
    }
    const accessToken = await insert('access', ACCESS_SECONDS)
    const refreshToken = withRefresh ? await insert('refresh', REFRESH_SECONDS) : undefined
    return { ok: true, value: { accessToken, refreshToken, scopes, expiresIn: ACCESS_SECONDS } }
  }

  async function byClientCredentials(id: string, request: TokenRequest): Promise<AuthResult<IssuedTokens>> {
    const client = await catalog.apiClients.find(id)
    const account = client && (await catalog.accounts.find(client.accountId))
    if (!client || !account) return UNKNOWN_CLIENT
    if (account.status !== 'active') return refused('invalid_client', 'The account is not active.')
    // Official clients ask for both scopes, whoever they are; what this one may have is what it gets.
    const allowed: readonly Scope[] = client.permissions === 'full' ? SCOPES : ['orbit']
    const scopes = readScopes(request.scope, SCOPES)?.filter((scope) => allowed.includes(scope))
    if (!scopes || scopes.length === 0) return UNKNOWN_SCOPE
    const { permissions, accountId } = client
    const bearer = { clientId: id, applicationId: null, userId: null, permissions, accountId }
    return catalog.transaction((tables) => issueTokens(tables, bearer, scopes, false))
  }

  async function byPassword(applicationId: string, request: TokenRequest): Promise<AuthResult<IssuedTokens>> {
    const { username, password } = request
    if (!username || !password) return refused('invalid_request', 'username and password must be given.')
    const scopes = readScopes(request.scope, SCOPES)
    if (!scopes) return UNKNOWN_SCOPE
    const user = isId('usr', username)
      ? await catalog.users.find(username)
      : await catalog.users.findByEmail(username)
    const identity = user?.id ?? username.toLowerCase()
    const stored = user && (await catalog.users.findPassword(user.id))
    // Nothing is waited for from here to the check, or more could come in than may.
    const retryAfterMs = limit.delayMs(identity)
    if (retryAfterMs > 0) {
      return {
        ...refused('invalid_client', 'Too many wrong passwords: wait before trying again.'),
        retryAfterMs,
      }
    }
    // Not a try that failed: it says nothing of the password, and is said whether there is such a user or not.
    if (isBusy()) {
      return {
        ...refused('invalid_client', 'Too many people log in at this moment: try again.'),
        retryAfterMs: BUSY_RETRY_MS,
      }
    }
    limit.begin(identity)
    if (!(await verifyPassword(password, stored)) || !user) {
      return refused('invalid_client', 'The user name or the password is wrong.')
    }
    limit.succeeded(identity)
    const bearer = {
      clientId: null,
      applicationId,
      userId: user.id,
      permissions: 'full',
      accountId: null,
    } as const
    return catalog.transaction((tables) => issueTokens(tables, bearer, scopes, true))
  }

  async function byRefreshToken(
    applicationId: string,
    request: TokenRequest,
  ): Promise<AuthResult<IssuedTokens>> {
    const { refreshToken } = request
    if (!refreshToken) return refused('invalid_request', 'refresh_token must be given.')
    const digest = sha256(refreshToken)
    return catalog.transaction(async (tables) => {
      const token = await tables.tokens.find(digest)
      const known =
        token?.kind === 'refresh' && token.applicationId === applicationId && token.expiresAt > now()
      if (!token || !known) return UNKNOWN_REFRESH
      const scopes = readScopes(request.scope, token.scopes as readonly Scope[])
      if (!scopes) return UNKNOWN_SCOPE
      if (!(await tables.tokens.remove(digest))) return UNKNOWN_REFRESH
      return issueTokens(tables, bearerOf(token), scopes, true)
    })
  }

  /** Says whether id and secret belong together; a revoked client's do no longer. */
  async function isKnown({ id, secret }: Credentials): Promise<boolean> {
    if (isId('app', id)) return isSecret(secret, await catalog.apiClients.findApplicationSecret(id))
    const client = isId('cli', id) ? await catalog.apiClients.find(id) : undefined
    const matches = isSecret(secret, await catalog.apiClients.findSecret(id))
    return matches && client?.revokedAt === null
  }

  return async (
    credentials: Credentials | undefined,
    request: TokenRequest,
  ): Promise<AuthResult<IssuedTokens>> => {
    if (!credentials || !(await isKnown(credentials))) return UNKNOWN_CLIENT
    const { id } = credentials
    const isApplication = isId('app', id)
    switch (request.grantType) {
      case undefined:
        return refused('invalid_request', 'grant_type must be given.')
      case 'client_credentials':
        return isApplication
          ? refused(
              'unauthorized_client',
              'An application cannot log in by itself; use an API client or a password.',
            )
          : byClientCredentials(id, request)
      case 'password':
        return isApplication ? byPassword(id, request) : NOT_FOR_CLIENTS
      case 'refresh_token':
        return isApplication ? byRefreshToken(id, request) : NOT_FOR_CLIENTS
      default:
        return refused(
          'unsupported_grant_type',
          'grant_type must be client_credentials, password or refresh_token.',
        )
    }
  }
}

export function refused(error: AuthError, description: string): Refused {
  return { ok: false, error, description }
}

const UNKNOWN_CLIENT = refused('invalid_client', 'The client id or its secret is wrong.')
const UNKNOWN_SCOPE = refused(
  'invalid_scope',
  'scope may hold infrastructure and orbit, as far as they were granted.',
)
const UNKNOWN_REFRESH = refused('invalid_grant', 'The refresh token is unknown, used or expired.')
const NOT_FOR_CLIENTS = refused('unauthorized_client', 'An API client can only use client_credentials.')

function bearerOf({ clientId, applicationId, userId, permissions, accountId }: Token): Bearer {
  return { clientId, applicationId, userId, permissions, accountId }
}

/** @returns those asked for, all allowed ones where none are named, undefined where one is not allowed */
function readScopes(text: string | undefined, allowed: readonly Scope[]): readonly Scope[] | undefined {
  const names = (text ?? '').split(/[\s,]+/).filter(Boolean)
  if (names.length === 0) return allowed
  if (names.some((name) => !allowed.some((scope) => scope === name))) return undefined
  return allowed.filter((scope) => names.includes(scope))
}
