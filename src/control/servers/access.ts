import { LibraryError } from '#base/errors.ts'
import { may, type ServerFacts } from '#model/may.ts'
import type { Session } from '#model/session.ts'

/** Lets pass who may do this with the server, or with a volume of one. @throws not_found, denied */
export function demandServer<T extends ServerFacts>(
  session: Session,
  action: 'see' | 'change',
  { id, thing, kind = 'server' }: { id: string; thing: T | undefined; kind?: 'server' | 'volume' },
): T {
  const verdict = thing ? may(session, { action, server: thing }) : 'not_found'
  if (thing && verdict === 'allowed') return thing
  if (verdict === 'denied') throw new LibraryError('denied', `${action} ${kind} ${id}`)
  const message = id === '' ? `the id of a ${kind} is missing` : `${kind} ${id} does not exist`
  throw new LibraryError('not_found', message)
}

/** The same for the servers and volumes of the session's account. @throws denied */
export function demandOwn(session: Session): void {
  const { accountId } = session
  if (may(session, { action: 'see', server: { accountId } }) === 'allowed') return
  throw new LibraryError('denied', `see the servers of account ${accountId}`)
}
