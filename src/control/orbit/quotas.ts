import type { Tables } from '#control/catalog/catalog.ts'
import type { ContainerRecord } from '#control/catalog/containers.ts'
import { promisedKey } from '#control/library/deps.ts'
import type { Metadata } from '#model/orbit.ts'
import type { OrbitDeps } from './deps.ts'
import { invalid } from './limits.ts'
import { type ObjectRoom, OrbitRefusal } from './orbit.ts'

/** @throws invalid where the quotas that a container's metadata sets are no numbers */
export function checkQuotas(metadata: Metadata): void {
  for (const kind of ['bytes', 'count'] as const) {
    const text = metadata[`quota-${kind}`]
    if (text !== undefined && !/^\d+$/.test(text)) throw invalid(`Invalid ${kind} quota.`)
  }
}

/** What an object that is to be written replaces: nothing where there is none. */
export type Replaced = { readonly size: number } | undefined

export interface RoomWanted {
  readonly replaced: Replaced
  /** Whether what is replaced stays in the account, as a version. */
  readonly isKept: boolean
  /** What whoever asks was promised before. */
  readonly mine?: ObjectRoom['mine'] | undefined
}

/** What bytes of a container's objects count against in the ledger of promises: of Orbit, and of the whole account. */
export const keysOf = ({ id, accountId }: Pick<ContainerRecord, 'id' | 'accountId'>) => [
  `container ${id}`,
  `objects ${accountId}`,
  promisedKey(accountId),
]

/** What the number of a container's objects counts against there. */
export const countKeyOf = ({ id }: Pick<ContainerRecord, 'id'>): string => `objects in container ${id}`

/**
 * How many bytes an object may have in this container, in place of what it replaces and beside what others were
 * promised.
 * @throws quota where it may not be there at all
 */
export async function demandRoom(
  { quota, bytesOfImages, promised }: Pick<OrbitDeps, 'quota' | 'bytesOfImages' | 'promised'>,
  tables: Tables,
  container: ContainerRecord,
  { replaced, isKept, mine = NOTHING }: RoomWanted,
): Promise<number> {
  const { accountId, bytesUsed, objectCount, metadata } = container
  const account = await tables.orbitAccounts.find(accountId)
  const used = account?.bytesUsed ?? 0
  const counted = objectCount + promised.sum(countKeyOf(container)) - mine.objects + (replaced ? 0 : 1)
  if (counted > quotaIn(metadata, 'quota-count')) throw exceeded()
  const [inContainer = 0, inOrbit = 0, inAll = 0] = keysOf(container).map((key) => promised.sum(key))
  const gone = replaced?.size ?? 0
  const goneFromAccount = isKept ? 0 : gone
  const goneFromHere = isKept && container.versions?.container === container.name ? 0 : gone
  const bounds = [
    quotaIn(metadata, 'quota-bytes') - bytesUsed - inContainer + goneFromHere,
    quotaIn(account?.metadata ?? {}, 'quota-bytes') - used - inOrbit + goneFromAccount,
  ]
  if (quota !== undefined) {
    bounds.push(quota - used - (await bytesOfImages(tables, accountId)) - inAll + goneFromAccount)
  }
  const room = Math.min(...bounds) + mine.bytes
  if (room < 0) throw exceeded()
  return room
}

const NOTHING: ObjectRoom['mine'] = { bytes: 0, objects: 0 }

export const exceeded = (): OrbitRefusal => new OrbitRefusal('quota', 'Upload exceeds quota.')

const quotaIn = (metadata: Metadata, name: string): number =>
  metadata[name] === undefined ? Number.POSITIVE_INFINITY : Number(metadata[name])
