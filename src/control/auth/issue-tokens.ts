import type { Tables } from '#control/catalog/catalog.ts'
import type { Token } from '#control/catalog/tokens.ts'
import type { Random } from '#model/ids.ts'
import type { IssuedTokens, Scope } from './auth.ts'
import { newToken, sha256 } from './secrets.ts'

const ACCESS_SECONDS = 7200
const REFRESH_SECONDS = 30 * 24 * 3600

/** Who the tokens are for. */
export type Bearer = Pick<Token, 'clientId' | 'applicationId' | 'userId' | 'permissions' | 'accountId'>

export type IssueTokens = (
  tables: Pick<Tables, 'tokens'>,
  bearer: Bearer,
  scopes: readonly Scope[],
  options: { readonly refresh: boolean },
) => Promise<IssuedTokens>

export function createIssueTokens({ now, random }: { now: () => number; random: Random }): IssueTokens {
  return async (tables, bearer, scopes, { refresh }) => {
    const insert = async (kind: Token['kind'], seconds: number) => {
      const token = newToken(random)
      const expiresAt = now() + seconds * 1000
      await tables.tokens.insert({ ...bearer, sha256: sha256(token), kind, scopes, expiresAt })
      return token
    }
    const accessToken = await insert('access', ACCESS_SECONDS)
    const refreshToken = refresh ? await insert('refresh', REFRESH_SECONDS) : undefined
    return { accessToken, refreshToken, scopes, expiresIn: ACCESS_SECONDS }
  }
}
