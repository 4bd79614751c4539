import { LibraryError } from '#base/errors.ts'
import type { ApiClientChange } from '#control/catalog/api-clients.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { ApiClient } from '#model/api-client.ts'
import type { Random } from '#model/ids.ts'
import type { Session } from '#model/session.ts'
import { demandAccount } from './accounts.ts'
import type { ApiClientAttributes, ApiClientWithSecret, Auth } from './auth.ts'
import { readOptionalText, readPermissions } from './fields.ts'
import { newSecret, sha256 } from './secrets.ts'

export interface ApiClientsDeps {
  readonly catalog: Catalog
  readonly now: () => number
  readonly random: Random
}

export function createApiClients({ catalog, now, random }: ApiClientsDeps) {
  async function create(accountId: string, attributes: ApiClientAttributes): Promise<ApiClientWithSecret> {
    const { name = null, description = null, permissions = 'full' } = readAttributes(attributes)
    const secret = newSecret(random)
    const made = { accountId, name, description, permissions, createdAt: now(), revokedAt: null }
    const client = await catalog.transaction(async (tables) => {
      if (!(await tables.accounts.find(accountId))) {
        throw new LibraryError('not_found', `account ${accountId} does not exist`)
      }
      return tables.apiClients.insert(made, sha256(secret))
    })
    return { client, secret }
  }

  /** Whatever it opened with what it had until now is closed. */
  const endLogins = (id: string, change: ApiClientChange) =>
    catalog.transaction(async ({ apiClients, tokens }) => {
      await apiClients.update(id, change)
      await tokens.removeOfClient(id)
    })

  /** Another account's client looks as if it did not exist. */
  async function find(session: Session, action: 'see' | 'change', id: string): Promise<ApiClient> {
    demandAccount(session, action, session.accountId)
    const client = await catalog.apiClients.find(id)
    if (client?.accountId === session.accountId) return client
    throw new LibraryError('not_found', `API client ${id} does not exist`)
  }

  async function end(client: ApiClient): Promise<ApiClient> {
    if (client.revokedAt !== null) return client
    const revokedAt = now()
    await endLogins(client.id, { revokedAt })
    return { ...client, revokedAt }
  }

  async function revoke(id: string): Promise<ApiClient> {
    const client = await catalog.apiClients.find(id)
    if (!client) throw new LibraryError('not_found', `API client ${id} does not exist`)
    return end(client)
  }

  const ofSession: Auth['clients'] = {
    async list(session) {
      demandAccount(session, 'see', session.accountId)
      return catalog.apiClients.listOfAccount(session.accountId)
    },
    async create(session, attributes) {
      demandAccount(session, 'change', session.accountId)
      return create(session.accountId, attributes)
    },
    show: (session, id) => find(session, 'see', id),
    async update(session, id, attributes) {
      const client = await find(session, 'change', id)
      const change = readAttributes(attributes)
      if (Object.keys(change).length > 0) await catalog.apiClients.update(id, change)
      return { ...client, ...change }
    },
    revoke: async (session, id) => end(await find(session, 'change', id)),
    async resetSecret(session, id) {
      const client = await find(session, 'change', id)
      if (client.revokedAt !== null) throw new LibraryError('conflict', `API client ${id} is revoked`)
      const secret = newSecret(random)
      await endLogins(id, { secretSha256: sha256(secret) })
      return { client, secret }
    },
  }
  return { create, revoke, ofSession }
}

/** What is given, checked. */
function readAttributes({ name, description, permissions }: ApiClientAttributes): ApiClientAttributes {
  return {
    ...(name === undefined ? {} : { name: readOptionalText('name', name) }),
    ...(description === undefined ? {} : { description: readOptionalText('description', description) }),
    ...(permissions === undefined ? {} : { permissions: readPermissions(permissions) }),
  }
}
