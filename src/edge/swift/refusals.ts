import { LibraryError } from '#base/errors.ts'
import { NoRoom } from '#base/no-room.ts'
import { Busy } from '#base/shares.ts'
import { OrbitRefusal, type RefusalKind } from '#control/orbit/orbit.ts'
import { ClientGone, HttpProblem } from '#edge/http/problems.ts'
import type { Exchange, Headers } from './exchange.ts'
import { bestOutcomeType, printOutcome } from './outcome.ts'
import { HTML, SwiftProblem, sendBytes, sendPage, sendText, sendUnauthorized } from './reply.ts'

/** How a refusal is answered. */
export interface Answer {
  readonly status: number
  /** A line of plain text in place of the status's own page. */
  readonly text: string | undefined
  readonly headers: Headers
}

const STATUSES: Readonly<Record<RefusalKind, number>> = {
  denied: 403,
  not_found: 404,
  invalid: 400,
  conflict: 409,
  precondition: 412,
  mismatch: 422,
  too_large: 413,
  quota: 413,
}
/** Kinds whose message is for the client. */
const SPOKEN: readonly RefusalKind[] = ['invalid', 'too_large', 'quota']

/** What to answer where something was thrown; what is no refusal is a bug or a fault, of which nothing is told. */
export function answerOf({ caller }: Pick<Exchange, 'caller'>, error: unknown): Answer {
  if (error instanceof SwiftProblem) return error
  if (error instanceof ClientGone) return { status: 499, text: undefined, headers: {} }
  if (error instanceof HttpProblem) return { status: error.status, text: error.message, headers: {} }
  if (error instanceof OrbitRefusal) {
    // A container's key says nothing of who asks for what lies elsewhere.
    const isNobody = !caller?.session && (!caller?.grant || caller.grant.container !== undefined)
    const status = error.kind === 'denied' && isNobody ? 401 : STATUSES[error.kind]
    return { status, text: SPOKEN.includes(error.kind) ? error.message : undefined, headers: {} }
  }
  if (error instanceof NoRoom)
    return { status: 507, text: `${error.message}.`, headers: { 'Retry-After': '60' } }
  if (error instanceof Busy)
    return { status: 503, text: `${error.message}. ${error.hint}`, headers: { 'Retry-After': '5' } }
  if (error instanceof LibraryError && error.code === 'unavailable') {
    return { status: 503, text: undefined, headers: { 'Retry-After': '5' } }
  }
  return { status: 500, text: undefined, headers: {} }
}

/** Texts that Swift sends as pages, although they are lines; nothing of the request stands in them. */
const isInPage = (status: number, text = ''): boolean =>
  status === 412 || text.startsWith('Container name length')

/** Answers with a list of what is wrong with the segments of a large object. */
function sendProblems(exchange: Exchange, status: number, problems: OrbitRefusal['problems']): void {
  const type = bestOutcomeType(exchange)
  const text = printOutcome(type, 'upload', {}, problems)
  sendBytes(exchange, status, { 'Content-Type': type }, Buffer.from(text))
}

/** Answers what was thrown while a request was handled; once an answer is under way, breaks the connection. */
export function sendRefusal(exchange: Exchange, error: unknown): void {
  const { response, log, raw } = exchange
  const { status, text, headers } = answerOf(exchange, error)
  const isGone = status === 499 || response.destroyed
  if (status >= 500 && !isGone && !(error instanceof SwiftProblem || error instanceof Busy))
    log.error({ err: error }, 'request failed')
  if (response.headersSent || raw.socket.destroyed) {
    response.destroy()
    return
  }
  if (error instanceof OrbitRefusal && error.problems.length > 0) {
    sendProblems(exchange, status, error.problems)
    return
  }
  const type: Headers = isInPage(status, text) ? { 'Content-Type': HTML } : {}
  if (text !== undefined) sendText(exchange, status, text, { ...headers, ...type })
  else if (status === 401) sendUnauthorized(exchange, { ...headers })
  else sendPage(exchange, status, { ...headers })
}
