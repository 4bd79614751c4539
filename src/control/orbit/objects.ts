import type { Part } from '#base/content.ts'
import { isExpired, type StoredObject } from '#control/catalog/objects.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { demandContainer, notFound } from './access.ts'
import { timeAfter } from './clock.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import { InlineBudget } from './inline-budget.ts'
import type { LargeObjects } from './large-objects.ts'
import { infoOf, measureStored } from './object-info.ts'
import type { ObjectInfo, Orbit, ReadOptions } from './orbit.ts'
import { readPinned } from './pinning.ts'
import { removeObject } from './placing.ts'
import { checkAttributes } from './uploads.ts'

export interface ObjectsDeps {
  readonly deps: OrbitDeps
  readonly large: LargeObjects
}

type Objects = Pick<Orbit['objects'], 'show' | 'locate' | 'update' | 'remove'>

export function createObjects({ deps, large }: ObjectsDeps): Objects {
  const { catalog, now } = deps
  const budget = new InlineBudget()

  async function find(caller: Caller, path: ObjectPath): Promise<StoredObject> {
    const { account: accountId, container, object } = path
    const found = await catalog.objects.find({ accountId, container, object }, secondsOf(now()))
    demandContainer(caller, 'read', path, found?.container)
    if (!found?.object) throw notFound()
    return found.object
  }

  /** An object as it reads and where its bytes are. */
  async function readParts(
    caller: Caller,
    path: ObjectPath,
    { manifest = false }: ReadOptions,
  ): Promise<{ info: ObjectInfo; parts: readonly Part[] }> {
    const object = await find(caller, path)
    if (isPlain(object) || manifest) {
      const { content, size } = object
      const parts = size === 0 ? [] : [{ content, offset: 0, length: size }]
      return { info: infoOf(object, measureStored(object)), parts }
    }
    const { parts, ...measure } = await large.locate(caller, path.account, object)
    return { info: infoOf(object, measure), parts }
  }

  return {
    async show(caller, path, { manifest = false } = {}) {
      const object = await find(caller, path)
      const stored = isPlain(object) || manifest
      return infoOf(
        object,
        stored ? measureStored(object) : await large.measure(caller, path.account, object),
      )
    },
    async locate(caller, path, options = {}) {
      await using held = new AsyncDisposableStack()
      const { value } = held.use(
        await readPinned(deps, async () => {
          const value = await readParts(caller, path, options)
          return { value, manifests: manifestsOf(value.parts) }
        }),
      )
      // One small object is sent before anybody could wait.
      if (value.parts.length > 1) held.use(budget.take(value.parts))
      const holding = held.move()
      return { ...value, [Symbol.asyncDispose]: () => holding.disposeAsync() }
    },
    async update(caller, path, attributes) {
      await catalog.transaction(async (tables) => {
        const container = await tables.containers.findToChange(path.account, path.container)
        const record = demandContainer(caller, 'write', path, container)
        checkAttributes(path, attributes)
        const object = await tables.objects.findIn(record.id, path.object)
        if (!object || isExpired(object, secondsOf(now()))) throw notFound()
        const { contentType, headers, metadata, deleteAt = null, dynamicManifest = null } = attributes
        const change = { headers, metadata, deleteAt, dynamicManifest, modifiedAt: timeAfter(now, object) }
        await tables.objects.update(record.id, path.object, {
          ...change,
          ...(contentType === undefined ? {} : { contentType }),
        })
      })
    },
    async remove(caller, path) {
      const wasThere = await catalog.transaction(async (tables) => {
        const found = await tables.containers.findToChange(path.account, path.container)
        return removeObject(deps, tables, demandContainer(caller, 'write', path, found), path.object)
      })
      if (!wasThere) throw notFound()
    },
  }
}

const isPlain = ({ large, dynamicManifest }: StoredObject): boolean =>
  large === null && dynamicManifest === null

/** The manifests that must stay while the parts are read. */
function manifestsOf(parts: readonly Part[]): string[] {
  const contents = parts.map(({ content }) => content)
  return contents.flatMap((content) => (content?.kind === 'manifest' ? content.manifest : []))
}
