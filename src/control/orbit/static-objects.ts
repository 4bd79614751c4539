import { isExpired, type StoredObject } from '#control/catalog/objects.ts'
import { mayOrbit } from '#model/may-orbit.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { demandContainer, factsOf, notFound, statusLineOf } from './access.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import type { LargeObjects } from './large-objects.ts'
import { infoOf, measureStored } from './object-info.ts'
import { type BulkOutcome, type Orbit, OrbitRefusal } from './orbit.ts'
import { holdContainer, placeObject } from './placing.ts'
import { demandRoom, exceeded } from './quotas.ts'
import { etagOfRows, lengthOfRow, printManifest, quotePath } from './static-manifests.ts'
import { checkAttributes, draftOf } from './uploads.ts'

export interface StaticObjectsDeps {
  readonly deps: OrbitDeps
  readonly large: LargeObjects
  readonly remove: Orbit['objects']['remove']
}

type StaticObjects = Pick<Orbit['objects'], 'putStatic' | 'showStatic' | 'removeStatic'>

/** Objects that one request removes; more take several. */
const REMOVED_MAX = 10_000

/** Static large objects as such; read, they are objects like others. */
export function createStaticObjects({ deps, large, remove }: StaticObjectsDeps): StaticObjects {
  const { catalog, contents, now } = deps

  async function find({ account, container, object }: ObjectPath) {
    const record = await catalog.containers.find(account, container)
    const found = record && (await catalog.objects.findIn(record.id, object))
    return { record, object: found && !isExpired(found, secondsOf(now())) ? found : undefined }
  }

  /** Adds what is to be removed with a static large object: its segments, each once and before what it is part of. */
  async function plan(caller: Caller, account: string, object: StoredObject, planned: Plan): Promise<void> {
    for (const row of await large.readRows(object)) {
      if (row.kind === 'data' || planned.seen.has(row.name)) continue
      planned.seen.add(row.name)
      if (planned.seen.size > REMOVED_MAX)
        throw new OrbitRefusal('invalid', 'Too many buffered slo segments to delete.')
      const [, container = '', name = ''] = /^\/([^/]+)\/(.+)$/s.exec(row.name) ?? []
      const path = { account, container, object: name }
      const nested = row.subSlo ? await find(path) : undefined
      const facts = factsOf(path, nested?.record)
      const mayLook = mayOrbit(caller, { action: 'write', container: facts }) === 'allowed'
      if (nested?.object?.large && mayLook) await plan(caller, account, nested.object, planned)
      planned.paths.push(path)
    }
  }

  return {
    async putStatic(caller, path, attributes, manifest) {
      const { record, object: standing } = await find(path)
      const container = demandContainer(caller, 'write', path, record)
      checkAttributes(path, attributes)
      const rows = await large.verify(caller, path.account, manifest.entries)
      const etag = etagOfRows(rows)
      if (manifest.etag !== undefined && manifest.etag.replace(/^"(.*)"$/, '$1') !== etag)
        throw new OrbitRefusal('mismatch', 'Unable to process the contained instructions')
      const bytes = Buffer.from(printManifest(rows))
      const wish = { replaced: standing, isKept: container.versions !== null }
      if ((await demandRoom(deps, catalog, container, wish)) < bytes.length) throw exceeded()
      await using writer = contents.openWriter({ signal: new AbortController().signal })
      await writer.write(bytes)
      const size = rows.reduce((sum, row) => sum + lengthOfRow(row), 0)
      const draft = { ...draftOf(path.object, attributes, await writer.finish()), large: { size, etag } }
      const object = await catalog.transaction(async (tables) => {
        const held = await holdContainer(tables, path)
        demandContainer(caller, 'write', path, held)
        return placeObject(deps, tables, held, draft, { ifNoneMatch: manifest.ifNoneMatch ?? false })
      })
      return infoOf(object, { size, etag, large: 'static' })
    },
    async showStatic(caller, path) {
      const { record, object } = await find(path)
      demandContainer(caller, 'read', path, record)
      if (!object) throw notFound()
      if (!object.large) throw new OrbitRefusal('invalid', 'Not an SLO manifest')
      return { info: infoOf(object, measureStored(object)), segments: await large.readRows(object) }
    },
    async removeStatic(caller, path) {
      const { record, object } = await find(path)
      demandContainer(caller, 'write', path, record)
      if (!object) return { deleted: 0, notFound: 1, errors: [] }
      if (!object.large) {
        return { deleted: 0, notFound: 0, errors: [[printPath(path), 'Not an SLO manifest']] }
      }
      const planned: Plan = { paths: [], seen: new Set([`/${path.container}/${path.object}`]) }
      await plan(caller, path.account, object, planned)
      return removeAll(caller, [...planned.paths, path], remove)
    },
  }
}

interface Plan {
  readonly paths: ObjectPath[]
  readonly seen: Set<string>
}

/** Goes on where one cannot be removed. */
async function removeAll(
  caller: Caller,
  paths: readonly ObjectPath[],
  remove: Orbit['objects']['remove'],
): Promise<BulkOutcome> {
  let [deleted, notFound] = [0, 0]
  const errors: [string, string][] = []
  for (const path of paths) {
    try {
      await remove(caller, path)
      deleted++
    } catch (error) {
      if (!(error instanceof OrbitRefusal)) throw error
      if (error.kind === 'not_found') notFound++
      else errors.push([printPath(path), statusLineOf(caller, error)])
    }
  }
  return { deleted, notFound, errors }
}

const printPath = ({ container, object }: ObjectPath): string => quotePath(`/${container}/${object}`)
