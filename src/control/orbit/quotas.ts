import type { Tables } from '#control/catalog/catalog.ts'
import type { ContainerRecord } from '#control/catalog/containers.ts'
import type { Metadata } from '#model/orbit.ts'
import type { OrbitDeps } from './deps.ts'
import { invalid } from './limits.ts'
import { OrbitRefusal } from './orbit.ts'

/** @throws invalid where the quotas that a container's metadata sets are no numbers */
export function checkQuotas(metadata: Metadata): void {
  for (const kind of ['bytes', 'count'] as const) {
    const text = metadata[`quota-${kind}`]
    if (text !== undefined && !/^\d+$/.test(text)) throw invalid(`Invalid ${kind} quota.`)
  }
}

/** What an object that is to be written replaces: nothing where there is none. */
export type Replaced = { readonly size: number } | undefined

/**
 * How many bytes an object may have in this container, in place of `replaced`.
 * @throws quota where it may not be there at all
 */
export async function demandRoom(
  { quota, bytesOfImages }: Pick<OrbitDeps, 'quota' | 'bytesOfImages'>,
  tables: Tables,
  container: ContainerRecord,
  replaced: Replaced,
): Promise<number> {
  const { accountId, bytesUsed, objectCount, metadata } = container
  const account = await tables.orbitAccounts.find(accountId)
  const used = account?.bytesUsed ?? 0
  if (objectCount + (replaced ? 0 : 1) > quotaIn(metadata, 'quota-count')) throw exceeded()
  let room = Math.min(
    quotaIn(metadata, 'quota-bytes') - bytesUsed,
    quotaIn(account?.metadata ?? {}, 'quota-bytes') - used,
  )
  if (quota !== undefined) room = Math.min(room, quota - used - (await bytesOfImages(tables, accountId)))
  room += replaced?.size ?? 0
  if (room < 0) throw exceeded()
  return room
}

export const exceeded = (): OrbitRefusal => new OrbitRefusal('quota', 'Upload exceeds quota.')

const quotaIn = (metadata: Metadata, name: string): number =>
  metadata[name] === undefined ? Number.POSITIVE_INFINITY : Number(metadata[name])
