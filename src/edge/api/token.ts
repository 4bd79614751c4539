import formbody from '@fastify/formbody'
import type { FastifyRequest } from 'fastify'
import type { Auth, AuthError, Credentials, IssuedTokens, Refused } from '#control/auth/auth.ts'
import type { App } from '#edge/http/app.ts'
import { sendProblem } from '#edge/http/app.ts'
import { OAuthProblem, problemOf } from '#edge/http/problems.ts'
import { OAuthProblemSchema } from '#schema/problem.ts'
import { type TokenJson, TokenRequestSchema, TokenSchema } from '#schema/token.ts'
import { named } from './route-docs.ts'

/** The OAuth 2 token endpoint (RFC 6749 §3.2): `/token` as Ruby clients post to it, `/token/` as Go's do. */
export async function tokenRoutes(app: App, { auth }: { readonly auth: Auth }): Promise<void> {
  await app.register(formbody)
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error)
    const ours = error instanceof OAuthProblem || problem.status >= 500
    const sentence = problem.errors.join(' ')
    sendProblem(ours ? error : new OAuthProblem(400, 'invalid_request', sentence), request, reply)
  })
  for (const url of ['/token', '/token/']) {
    app.post(url, { schema: { ...DOCS, hide: url !== '/token' } }, async (request, reply) => {
      const fields = readFields(request.body)
      const result = await auth.issue(readBasic(request) ?? readPosted(fields), {
        grantType: fields.grant_type,
        username: fields.username,
        password: fields.password,
        refreshToken: fields.refresh_token,
        scope: fields.scope,
        address: request.ip,
      })
      if (!result.ok) throw refusalOf(result, request)
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
      return printTokens(result.value)
    })
  }
}

const DOCS = {
  tags: ['token'],
  operationId: 'issueToken',
  summary: 'Exchange credentials for an access token',
  description:
    'The client authenticates by HTTP Basic or by `client_id` and `client_secret`; the body is JSON or a form.',
  body: named(TokenRequestSchema),
  consumes: ['application/json', 'application/x-www-form-urlencoded'],
  response: { 200: named(TokenSchema), '4xx': named(OAuthProblemSchema) },
  security: [{ basic: [] }],
}

type Fields = Readonly<Record<string, string | undefined>>

/** Takes the texts of a JSON or form body; whatever is not a text counts as missing. */
function readFields(body: unknown): Fields {
  if (typeof body !== 'object' || body === null) return {}
  return Object.fromEntries(Object.entries(body).filter(([, value]) => typeof value === 'string'))
}

/** HTTP Basic; id and secret may be form-encoded (RFC 6749 §2.3.1), which clients in Go do. */
function readBasic(request: FastifyRequest): Credentials | undefined {
  const encoded = /^Basic\s+(.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  if (colon === -1) return { id: text, secret: '' }
  return { id: decode(text.slice(0, colon)), secret: decode(text.slice(colon + 1)) }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}

const readPosted = ({ client_id: id, client_secret: secret }: Fields): Credentials | undefined =>
  id === undefined ? undefined : { id, secret: secret ?? '' }

const printTokens = (tokens: IssuedTokens): TokenJson => ({
  access_token: tokens.accessToken,
  token_type: 'Bearer',
  ...(tokens.refreshToken === undefined ? {} : { refresh_token: tokens.refreshToken }),
  scope: tokens.scopes.join(', '),
  expires_in: tokens.expiresIn,
})

/** Wrong credentials are a 401, as the official CLI understands them; what is wrong with the request, a 400. */
const UNAUTHORIZED: readonly AuthError[] = ['invalid_client', 'invalid_token', 'expired_token']

function refusalOf({ error, description, retryAfterMs }: Refused, request: FastifyRequest): OAuthProblem {
  if (retryAfterMs !== undefined) {
    return new OAuthProblem(429, error, description, {
      'retry-after': String(Math.ceil(retryAfterMs / 1000)),
    })
  }
  if (!UNAUTHORIZED.includes(error)) return new OAuthProblem(400, error, description)
  const realm = request.hostname.replace(/[^\w.-]/g, '')
  return new OAuthProblem(401, error, description, { 'www-authenticate': `Basic realm="${realm}"` })
}
