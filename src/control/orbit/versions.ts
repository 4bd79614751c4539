import type { Tables } from '#control/catalog/catalog.ts'
import type { ContainerRecord } from '#control/catalog/containers.ts'
import { afterAll } from '#control/catalog/name-walk.ts'
import { isExpired, type ObjectRecord, type StoredObject } from '#control/catalog/objects.ts'
import type { Timestamp } from '#model/orbit.ts'
import { timeAfter } from './clock.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import { LIMITS } from './limits.ts'
import { OrbitRefusal } from './orbit.ts'

/** Type of the marks that say when an object was deleted. */
const DELETED = 'application/x-deleted;swift_versions_deleted=1'
const EMPTY_MD5 = 'd41d8cd98f00b204e9800998ecf8427e'
/** Versions read at a time; all but the newest matter only where that one has expired. */
const PAGE = 4

type Deps = Pick<OrbitDeps, 'now'>

/**
 * Puts an object that is about to be replaced where the container's old versions go, if anywhere; in the transaction
 * that replaces it. Large objects go there as their manifests.
 * @throws precondition where it cannot go there
 */
export async function archiveReplaced(
  deps: Deps,
  tables: Tables,
  container: ContainerRecord,
  replaced: StoredObject,
): Promise<void> {
  if (!container.versions) return
  await archive(deps, tables, await demandArchive(tables, container), replaced)
}

/**
 * Removes an object from a container with versions, in a transaction: in a stack the newest old version takes its
 * place, in a history it goes there too, and a mark of its removal.
 * @param standing what stands under the name, also one that has expired
 * @returns whether there was anything to remove
 * @throws precondition where it cannot go into the history
 */
export async function removeVersioned(
  deps: Deps,
  tables: Tables,
  container: ContainerRecord,
  name: string,
  standing: StoredObject | undefined,
): Promise<boolean> {
  const object = standing && !isExpired(standing, secondsOf(deps.now())) ? standing : undefined
  if (container.versions?.mode === 'history') {
    const target = await demandArchive(tables, container)
    if (object) await archive(deps, tables, target, object)
    await mark(tables, target, { name, modifiedAt: timeAfter(deps.now, object) })
  } else {
    const source = await findArchive(tables, container)
    if (source && (await pop(deps, tables, { source, container, name, standing, object }))) return true
  }
  if (object) await tables.objects.remove(container, object)
  return object !== undefined
}

interface Popped {
  readonly source: ContainerRecord
  readonly container: ContainerRecord
  readonly name: string
  readonly standing: StoredObject | undefined
  readonly object: StoredObject | undefined
}

/** @returns false where no old version has anything to say about the removal */
async function pop(
  deps: Deps,
  tables: Tables,
  { source, container, name, standing, object }: Popped,
): Promise<boolean> {
  const versions = newestFirst(deps, tables, source, name)
  const newest = (await versions.next()).value
  if (!newest) return false
  const isMark = newest.contentType === DELETED
  // Back to the time when it was deleted before: the plain removal does that.
  if (isMark && object) return false
  const restored = isMark ? (await versions.next()).value : newest
  if (restored && restored.contentType !== DELETED) {
    await tables.objects.put(
      container,
      { ...restored, name, modifiedAt: timeAfter(deps.now, object) },
      standing,
    )
    await tables.objects.remove(source, restored)
  }
  if (isMark) await tables.objects.remove(source, newest)
  return true
}

async function* newestFirst(
  { now }: Deps,
  tables: Tables,
  source: ContainerRecord,
  name: string,
): AsyncGenerator<StoredObject, undefined> {
  const prefix = prefixOf(name)
  const lower = { name: prefix, inclusive: true }
  for (let upper = afterAll(prefix); ; ) {
    const page = await tables.objects.walkWhole(source.id, { lower, upper, reverse: true, limit: PAGE })
    yield* page.filter((version) => !isExpired(version, secondsOf(now())))
    const last = page.at(-1)
    if (!last) return undefined
    upper = last.name
  }
}

async function archive(
  deps: Deps,
  tables: Tables,
  target: ContainerRecord,
  object: StoredObject,
): Promise<void> {
  await add(tables, target, {
    ...object,
    name: nameOfVersion(object.name, object.modifiedAt),
    modifiedAt: deps.now(),
  })
}

async function mark(
  tables: Tables,
  target: ContainerRecord,
  { name, modifiedAt }: Pick<ObjectRecord, 'name' | 'modifiedAt'>,
): Promise<void> {
  await add(tables, target, {
    name: nameOfVersion(name, modifiedAt),
    size: 0,
    md5: EMPTY_MD5,
    large: null,
    contentType: DELETED,
    headers: {},
    metadata: {},
    dynamicManifest: null,
    deleteAt: null,
    modifiedAt,
    content: { kind: 'inline', bytes: new Uint8Array() },
  })
}

async function add(tables: Tables, target: ContainerRecord, version: ObjectRecord): Promise<void> {
  if (Buffer.byteLength(version.name) > LIMITS.objectName) throw new OrbitRefusal('precondition', '')
  await tables.objects.put(target, version, await tables.objects.findIn(target.id, version.name))
}

async function demandArchive(tables: Tables, container: ContainerRecord): Promise<ContainerRecord> {
  const found = await findArchive(tables, container)
  if (!found) throw new OrbitRefusal('precondition', '')
  return found
}

async function findArchive(
  tables: Tables,
  { accountId, versions }: ContainerRecord,
): Promise<ContainerRecord | undefined> {
  return versions ? tables.containers.findToChange(accountId, versions.container) : undefined
}

/** `001o/1795405548.37648`: how long the name is, the name, and the time of the version. */
const nameOfVersion = (name: string, at: Timestamp): string => {
  const seconds = String(Math.floor(at / 1e6)).padStart(10, '0')
  return `${prefixOf(name)}${seconds}.${String((at % 1e6) / 10).padStart(5, '0')}`
}

const prefixOf = (name: string): string => `${Buffer.byteLength(name).toString(16).padStart(3, '0')}${name}/`
