import type { Tables } from '#control/catalog/catalog.ts'
import type { ContainerRecord } from '#control/catalog/containers.ts'
import { isExpired, type ObjectRecord } from '#control/catalog/objects.ts'
import type { ContainerPath } from '#model/orbit.ts'
import { notFound } from './access.ts'
import { timeAfter } from './clock.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import { type ObjectRoom, OrbitRefusal } from './orbit.ts'
import { demandRoom, exceeded } from './quotas.ts'
import { archiveReplaced, removeVersioned } from './versions.ts'

/** An object that has no time yet. */
export type ObjectDraft = Omit<ObjectRecord, 'modifiedAt'>

/** The container that a transaction is going to change objects in. @throws not_found */
export async function holdContainer(
  tables: Tables,
  { account, container }: ContainerPath,
): Promise<ContainerRecord> {
  const found = await tables.containers.findToChange(account, container)
  if (!found) throw notFound()
  return found
}

export interface PlaceOptions {
  readonly ifNoneMatch?: boolean
  /** What it was promised of quotas; ended here. */
  readonly room?: ObjectRoom | undefined
}

/**
 * Writes an object in a transaction, in a container that was held in it. What stood there is replaced, and goes to
 * where old versions go. Whoever calls has asked whether the caller may.
 * @throws quota; precondition where one is there and `ifNoneMatch`, or old versions cannot go where they should
 */
export async function placeObject(
  deps: OrbitDeps,
  tables: Tables,
  container: ContainerRecord,
  draft: ObjectDraft,
  { ifNoneMatch = false, room }: PlaceOptions = {},
): Promise<ObjectRecord> {
  const replaced = await tables.objects.findIn(container.id, draft.name)
  const object: ObjectRecord = { ...draft, modifiedAt: timeAfter(deps.now, replaced) }
  const stands = replaced !== undefined && !isExpired(replaced, secondsOf(deps.now()))
  if (stands && ifNoneMatch) throw new OrbitRefusal('precondition', '')
  const isKept = stands && container.versions !== null
  const bytes = await demandRoom(deps, tables, container, { replaced, isKept, mine: room?.mine })
  if (bytes < draft.size) throw exceeded()
  if (stands) await archiveReplaced(deps, tables, container, replaced)
  await tables.objects.put(container, object, replaced)
  // From now on the object itself counts.
  room?.[Symbol.dispose]()
  return object
}

/**
 * Removes an object in a transaction, in a container that was held in it; a version may take its place.
 * @returns whether there was one
 * @throws precondition where old versions cannot go where they should
 */
export async function removeObject(
  deps: OrbitDeps,
  tables: Tables,
  container: ContainerRecord,
  name: string,
): Promise<boolean> {
  const object = await tables.objects.findIn(container.id, name)
  if (container.versions) return removeVersioned(deps, tables, container, name, object)
  if (!object || isExpired(object, secondsOf(deps.now()))) return false
  await tables.objects.remove(container, object)
  return true
}
