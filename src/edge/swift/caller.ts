import { ANYBODY, type Caller } from '#model/orbit.ts'
import { type Exchange, headerOf } from './exchange.ts'
import { SwiftProblem } from './reply.ts'
import { grantOf } from './temp-url.ts'

/**
 * Who asks: the holder of a temporary URL, of a token, or nobody in particular.
 * @throws SwiftProblem 401 where there is a signature or a token, and it is no good
 */
export async function callerOf(exchange: Exchange): Promise<Caller> {
  const referrer = referrerOf(exchange)
  const grant = await grantOf(exchange)
  if (grant) return { ...ANYBODY, grant, referrer }
  const token = tokenOf(exchange)
  if (token === undefined) return referrer === undefined ? ANYBODY : { ...ANYBODY, referrer }
  const identity = await exchange.deps.auth.orbit.identify(token, exchange.path.account)
  if (!identity.ok) throw new SwiftProblem(401)
  return { ...identity.value, referrer, grant: undefined }
}

/** An empty token is none. */
export const tokenOf = (exchange: Exchange): string | undefined =>
  headerOf(exchange, 'x-auth-token') || headerOf(exchange, 'x-storage-token') || undefined

/** Access lists know hosts, not addresses. */
function referrerOf(exchange: Exchange): string | undefined {
  const referer = headerOf(exchange, 'referer')
  return referer === undefined ? undefined : URL.parse(referer)?.hostname || undefined
}
