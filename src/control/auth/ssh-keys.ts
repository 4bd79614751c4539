import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Session } from '#model/session.ts'
import type { SshKey } from '#model/ssh-key.ts'
import { demandAccount } from './accounts.ts'
import type { Auth } from './auth.ts'
import { readOptionalText } from './fields.ts'
import { parsePublicKey } from './ssh-public-key.ts'

/** More than anybody's machines; without a limit one client could fill the catalog. */
const KEYS_PER_OWNER = 100

export function createSshKeys({ catalog, now }: { catalog: Catalog; now: () => number }): Auth['keys'] {
  async function ownsClient(session: Session, id: string): Promise<boolean> {
    return (await catalog.apiClients.find(id))?.accountId === session.accountId
  }

  /** Another user's key, and those of another account's API clients, look as if they did not exist. */
  async function find(session: Session, action: 'see' | 'change', id: string): Promise<SshKey> {
    demandAccount(session, action, session.accountId)
    const key = await catalog.sshKeys.find(id)
    if (key && (key.ownerId === session.userId || (await ownsClient(session, key.ownerId)))) return key
    throw new LibraryError('not_found', `SSH key ${id} does not exist`)
  }

  return {
    async list(session) {
      demandAccount(session, 'see', session.accountId)
      return catalog.sshKeys.list(session.accountId, session.userId)
    },
    show: (session, id) => find(session, 'see', id),
    async add(session, { line, name, clientId }) {
      demandAccount(session, 'change', session.accountId)
      const ownerId = clientId ?? session.userId ?? session.clientId ?? ''
      if (ownerId !== session.userId && !(await ownsClient(session, ownerId))) {
        throw new LibraryError('not_found', `API client ${ownerId} does not exist`)
      }
      const { comment, ...key } = parsePublicKey(line)
      const shown = readOptionalText('name', name ?? comment)
      return catalog.transaction(async ({ sshKeys }) => {
        const same = await sshKeys.findOfOwner(ownerId, key.fingerprint)
        if (same) throw new LibraryError('conflict', `${ownerId} has this key already, as ${same.id}`)
        if ((await sshKeys.countOfOwner(ownerId)) >= KEYS_PER_OWNER) {
          throw new LibraryError('conflict', `${ownerId} has ${KEYS_PER_OWNER} keys, which is the most`, {
            hint: 'remove those that are no longer used',
          })
        }
        return sshKeys.insert({ ...key, ownerId, name: shown, createdAt: now() })
      })
    },
    async remove(session, id) {
      const key = await find(session, 'change', id)
      await catalog.sshKeys.remove(id)
      return key
    },
  }
}
