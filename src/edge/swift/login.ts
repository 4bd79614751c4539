import { originOf } from '#edge/http/host.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { encodePath } from './path.ts'
import { SwiftProblem, sendText, sendUnauthorized } from './reply.ts'

/** Whether a request is one of Swift's v1 auth: name and key, and no token. */
export const isLogin = (exchange: Exchange): boolean =>
  (exchange.method === 'GET' || exchange.method === 'HEAD') &&
  userOf(exchange) !== undefined &&
  keyOf(exchange) !== undefined &&
  headerOf(exchange, 'x-auth-token') === undefined

const userOf = (exchange: Exchange) =>
  headerOf(exchange, 'x-auth-user') ?? headerOf(exchange, 'x-storage-user')

const keyOf = (exchange: Exchange) => headerOf(exchange, 'x-auth-key') ?? headerOf(exchange, 'x-storage-pass')

/** Answers with a token and the address of the account that it is for. */
export async function logIn(exchange: Exchange): Promise<void> {
  const { deps, path, raw } = exchange
  const user = utf8(userOf(exchange))
  const key = utf8(keyOf(exchange))
  if (user === '') throw new SwiftProblem(412, 'Bad URL')
  // Refused before a token is made: the address of the account could not be told.
  const origin = deps.publicUrl ?? originOf({ protocol: 'http', host: raw.headers.host ?? '' })
  const login = await deps.auth.orbit.login({
    ...{ user, key, address: raw.socket.remoteAddress },
    accountId: path.account || undefined,
  })
  if (!login.ok) {
    if (login.retryAfterMs === undefined) return sendUnauthorized(exchange)
    throw new SwiftProblem(429, login.description, {
      'Retry-After': String(Math.ceil(login.retryAfterMs / 1000)),
    })
  }
  const { token, expiresIn, accountId } = login.value
  sendText(exchange, 200, 'Authenticated', {
    'X-Storage-Url': `${origin}/v1/${encodePath(accountId)}`,
    'X-Storage-Token': token,
    'X-Auth-Token': token,
    'X-Auth-Token-Expires': String(expiresIn),
  })
}

/** Names and passwords are text, not bytes. */
const utf8 = (value: string | undefined): string => Buffer.from(value ?? '', 'latin1').toString()
