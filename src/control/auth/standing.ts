import type { Tables } from '#control/catalog/catalog.ts'
import type { Session } from '#model/session.ts'
import type { Standee } from './auth.ts'
import { sha256 } from './secrets.ts'

/** A text that is another one after each change of what lets somebody in. @param credential a hash, as it is kept */
export const standingBy = (permissions: Session['permissions'], credential: string): string =>
  sha256(`${permissions} ${credential}`)

/** What `Session.standing` would be now; undefined where he would not be let in at all. */
export async function standingOf(
  { accounts, apiClients, users }: Pick<Tables, 'accounts' | 'apiClients' | 'users'>,
  { accountId, clientId, userId }: Omit<Standee, 'standing'>,
): Promise<string | undefined> {
  if ((await accounts.find(accountId))?.status !== 'active') return undefined
  if (clientId !== null) {
    const client = await apiClients.find(clientId)
    const secret = await apiClients.findSecret(clientId)
    const isOf = client?.accountId === accountId && client.revokedAt === null
    return isOf && secret !== undefined ? standingBy(client.permissions, secret) : undefined
  }
  const user = await users.find(userId ?? '')
  const password = await users.findPassword(userId ?? '')
  const isMember = user?.accountIds.includes(accountId)
  return isMember && password !== undefined ? standingBy('full', password) : undefined
}
