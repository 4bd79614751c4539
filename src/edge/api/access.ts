import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Auth, Refused, Stay } from '#control/auth/auth.ts'
import { originOf } from '#edge/http/host.ts'
import { OAuthProblem } from '#edge/http/problems.ts'
import type { Session } from '#model/session.ts'
import type { ApiDeps } from './api-deps.ts'
import { readQuery } from './query.ts'

const sessions = new WeakMap<FastifyRequest, Session>()
const authorized = new WeakMap<FastifyRequest, () => Promise<boolean>>()

/** Who asks; set by `requireToken` before any handler runs. */
export function sessionOf(request: FastifyRequest): Session {
  const session = sessions.get(request)
  if (!session) throw new Error(`no session for ${request.method} ${request.routeOptions.url}`)
  return session
}

/** To be disposed of: its signal ends an answer that would go on for longer than who asks may have it. */
export const stayOf = (request: FastifyRequest, { stays }: Pick<Auth, 'stays'>): Stay =>
  stays.enter(sessionOf(request), authorized.get(request))

/** Makes the hook that every route under `/1.0` stands behind. */
export function requireToken(auth: Auth) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const token = /^(?:Bearer|OAuth)\s+(\S+)\s*$/i.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) throw tokenProblem({ error: 'invalid_token', description: NO_TOKEN })
    const result = await auth.authenticate(token, readQuery(request, 'account_id'))
    if (!result.ok) throw tokenProblem(result)
    const { accountId } = result.value
    sessions.set(request, result.value)
    authorized.set(request, async () => (await auth.authenticate(token, accountId)).ok)
    reply.headers({
      'x-oauth-scopes': result.value.scopes.join(', '),
      'cache-control': request.method === 'GET' ? 'max-age=0, private, must-revalidate' : 'no-cache',
    })
  }
}

const NO_TOKEN = 'this needs an access token: Authorization: Bearer …; POST /token gives one'

/** Official clients fetch a new token on any 401, so a 401 is only ever about the token. */
function tokenProblem({ error, description }: Pick<Refused, 'error' | 'description'>): OAuthProblem {
  return new OAuthProblem(401, error, description, { 'www-authenticate': `OAuth error="${error}"` })
}

/** The session that the same token has on another account of its user. */
export async function sessionFor(auth: Auth, request: FastifyRequest, accountId: string): Promise<Session> {
  const session = sessionOf(request)
  if (session.accountId === accountId) return session
  const token = request.headers.authorization?.split(/\s+/)[1] ?? ''
  const result = await auth.authenticate(token, accountId)
  if (!result.ok) throw tokenProblem(result)
  return result.value
}

/** Scheme and host that addresses in the answer begin with. */
export function baseOf(request: FastifyRequest, { publicUrl }: Pick<ApiDeps, 'publicUrl'>): string {
  return publicUrl ?? originOf(request)
}
