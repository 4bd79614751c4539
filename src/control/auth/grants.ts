import type { Catalog } from '#control/catalog/catalog.ts'
import type { Token } from '#control/catalog/tokens.ts'
import { isId } from '#model/ids.ts'
import type { AuthResult, Credentials, IssuedTokens, Scope, TokenRequest } from './auth.ts'
import type { Bearer, IssueTokens } from './issue-tokens.ts'
import { type Logins, refused, UNKNOWN_CLIENT, WRONG_PASSWORD } from './logins.ts'
import { sha256 } from './secrets.ts'
import { standingBy, standingOf } from './standing.ts'

const SCOPES: readonly Scope[] = ['infrastructure', 'orbit']

export interface GrantsDeps {
  readonly catalog: Catalog
  readonly logins: Logins
  readonly issueTokens: IssueTokens
  readonly now: () => number
}

/** The token endpoint's grants (RFC 6749 sections 4.3, 4.4 and 6). */
export function createGrants({ catalog, logins, issueTokens, now }: GrantsDeps) {
  async function byClientCredentials(
    { id, secret }: Credentials,
    request: TokenRequest,
  ): Promise<AuthResult<IssuedTokens>> {
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
    return catalog.transaction(async (tables) => {
      // Nothing may have changed since the secret was checked, or this token would outlive it.
      const standing = await standingOf(tables, bearer)
      if (standing !== standingBy(permissions, sha256(secret))) return UNKNOWN_CLIENT
      return { ok: true, value: await issueTokens(tables, bearer, scopes, { refresh: false }) }
    })
  }

  async function byPassword(applicationId: string, request: TokenRequest): Promise<AuthResult<IssuedTokens>> {
    const { username, password } = request
    if (!username || !password) return refused('invalid_request', 'username and password must be given.')
    const scopes = readScopes(request.scope, SCOPES)
    if (!scopes) return UNKNOWN_SCOPE
    const checked = await logins.checkUser(username, password, request.address)
    if (!checked.ok) return checked
    const { user, password: stored } = checked.value
    const bearer = {
      clientId: null,
      applicationId,
      userId: user.id,
      permissions: 'full',
      accountId: null,
    } as const
    return catalog.transaction(async (tables) => {
      if ((await tables.users.findPassword(user.id)) !== stored) return WRONG_PASSWORD
      return { ok: true, value: await issueTokens(tables, bearer, scopes, { refresh: true }) }
    })
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
      const value = await issueTokens(tables, bearerOf(token), scopes, { refresh: true })
      return { ok: true, value }
    })
  }

  return async (
    credentials: Credentials | undefined,
    request: TokenRequest,
  ): Promise<AuthResult<IssuedTokens>> => {
    if (!credentials) return UNKNOWN_CLIENT
    const { id } = credentials
    const isApplication = isId('app', id)
    const check = isApplication ? logins.checkApplication : logins.checkClient
    const checked = await check(credentials, request.address)
    if (!checked.ok) return checked
    switch (request.grantType) {
      case undefined:
        return refused('invalid_request', 'grant_type must be given.')
      case 'client_credentials':
        return isApplication
          ? refused(
              'unauthorized_client',
              'An application cannot log in by itself; use an API client or a password.',
            )
          : byClientCredentials(credentials, request)
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
