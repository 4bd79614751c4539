import type { Tables } from '#control/catalog/catalog.ts'
import type { ListedContainer } from '#control/catalog/containers.ts'
import type { Walked } from '#control/catalog/name-walk.ts'
import type { OrbitAccount } from '#control/catalog/orbit-accounts.ts'
import { demand, denied, notFound } from './access.ts'
import type { OrbitDeps } from './deps.ts'
import type { Expiry } from './expiry.ts'
import { mergeMetadata } from './limits.ts'
import { listNames } from './listing.ts'
import type { AccountInfo, ContainerRow, Orbit } from './orbit.ts'

export interface AccountsDeps {
  readonly deps: OrbitDeps
  readonly expiry: Expiry
}

export function createAccounts({ deps, expiry }: AccountsDeps): Orbit['accounts'] {
  async function read(tables: Tables, id: string): Promise<OrbitAccount> {
    const account = await tables.orbitAccounts.find(id)
    if (!account) throw notFound()
    return account
  }
  return {
    async show(caller, account) {
      demand(caller, { action: 'see', account })
      return expiry.snapshot(async (tables, settle) => {
        await settle({ accountId: account })
        return infoOf(await read(tables, account))
      })
    },
    async update(caller, id, change) {
      demand(caller, { action: 'change', account: id })
      // What an account may have is not its own to say.
      if ('quota-bytes' in change) throw denied()
      await deps.catalog.transaction(async ({ orbitAccounts }) => {
        const account = await orbitAccounts.findToChange(id)
        if (!account) throw notFound()
        await orbitAccounts.setMetadata(id, mergeMetadata('account', account.metadata, change))
      })
    },
    async list(caller, account, query) {
      demand(caller, { action: 'see', account })
      return expiry.snapshot(async (tables, settle) => {
        await settle({ accountId: account })
        const info = infoOf(await read(tables, account))
        const walked = await listNames((walk) => tables.containers.walk(account, walk), query)
        return { info, rows: walked.map(toRow) }
      })
    },
  }
}

const infoOf = (account: OrbitAccount): AccountInfo => ({
  account: account.id,
  containerCount: account.containerCount,
  objectCount: account.objectCount,
  bytesUsed: account.bytesUsed,
  createdAt: account.createdAt,
  metadata: account.metadata,
})

function toRow({ group, row }: Walked<ListedContainer>): ContainerRow {
  if (group !== null) return { kind: 'subdir', name: group }
  const { name, objectCount, bytesUsed, updatedAt } = row
  return { kind: 'container', name, count: objectCount, bytes: bytesUsed, modifiedAt: updatedAt }
}
