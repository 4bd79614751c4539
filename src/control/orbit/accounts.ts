import type { Tables } from '#control/catalog/catalog.ts'
import type { ListedContainer } from '#control/catalog/containers.ts'
import type { Walked } from '#control/catalog/name-walk.ts'
import type { OrbitAccount } from '#control/catalog/orbit-accounts.ts'
import type { Caller } from '#model/orbit.ts'
import { demand, denied, notFound } from './access.ts'
import type { OrbitDeps } from './deps.ts'
import type { Expiry } from './expiry.ts'
import { IMAGES, type ImagesContainer } from './images-container.ts'
import { mergeMetadata } from './limits.ts'
import { joinWalks, listNames, type Walk, walkRows } from './listing.ts'
import type { AccountInfo, ContainerRow, Orbit } from './orbit.ts'

export interface AccountsDeps {
  readonly deps: OrbitDeps
  readonly expiry: Expiry
  readonly images: Pick<ImagesContainer, 'covers' | 'show'>
}

export function createAccounts({ deps, expiry, images }: AccountsDeps): Orbit['accounts'] {
  async function read(tables: Tables, id: string): Promise<OrbitAccount> {
    const account = await tables.orbitAccounts.find(id)
    if (!account) throw notFound()
    return account
  }
  /** The images container as a row of the listing, where it is shown. */
  async function imagesOf(caller: Caller, account: string): Promise<ListedContainer[]> {
    const path = { account, container: IMAGES }
    if (!(await images.covers(path))) return []
    return [{ ...(await images.show(caller, path)), name: IMAGES }]
  }

  return {
    async show(caller, account) {
      demand(caller, { action: 'see', account })
      const extra = await imagesOf(caller, account)
      return expiry.snapshot(async (tables, settle) => {
        await settle({ accountId: account })
        return infoOf(await read(tables, account), extra)
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
      const extra = await imagesOf(caller, account)
      return expiry.snapshot(async (tables, settle) => {
        await settle({ accountId: account })
        const info = infoOf(await read(tables, account), extra)
        const stored: Walk<ListedContainer> = (walk) => tables.containers.walk(account, walk)
        const walked = await listNames(joinWalks(stored, walkRows(extra)), query)
        return { info, rows: walked.map(toRow) }
      })
    },
  }
}

function infoOf(account: OrbitAccount, extra: readonly ListedContainer[]): AccountInfo {
  const sum = (start: number, key: 'objectCount' | 'bytesUsed') =>
    extra.reduce((total, container) => total + container[key], start)
  return {
    account: account.id,
    containerCount: account.containerCount + extra.length,
    objectCount: sum(account.objectCount, 'objectCount'),
    bytesUsed: sum(account.bytesUsed, 'bytesUsed'),
    createdAt: account.createdAt,
    metadata: account.metadata,
  }
}

function toRow({ group, row }: Walked<ListedContainer>): ContainerRow {
  if (group !== null) return { kind: 'subdir', name: group }
  const { name, objectCount, bytesUsed, updatedAt } = row
  return { kind: 'container', name, count: objectCount, bytes: bytesUsed, modifiedAt: updatedAt }
}
