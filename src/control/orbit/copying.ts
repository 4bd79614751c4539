import type { Tables } from '#control/catalog/catalog.ts'
import { isExpired, type StoredObject } from '#control/catalog/objects.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { demandContainer, denied, notFound } from './access.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import type { ImagesContainer } from './images-container.ts'
import type { LargeObjects } from './large-objects.ts'
import { checkNames, checkSize } from './limits.ts'
import { infoOf, measureStored } from './object-info.ts'
import {
  type CopiedObject,
  type CopyOptions,
  type ObjectAttributes,
  type ObjectInfo,
  type Orbit,
  OrbitRefusal,
  type StaticEntry,
  type StaticSegmentRow,
} from './orbit.ts'
import { cutParts } from './part-list.ts'
import { holdContainer, placeObject, removeObject } from './placing.ts'
import { checkAttributes } from './uploads.ts'

type Objects = Orbit['objects']

export interface CopyingDeps extends Pick<Objects, 'locate' | 'beginPut' | 'putStatic'> {
  readonly deps: OrbitDeps
  readonly large: LargeObjects
  readonly images: Pick<ImagesContainer, 'covers' | 'locate'>
}

interface Way {
  readonly from: ObjectPath
  readonly to: ObjectPath
}

/** Copies of one object are rows for the same bytes; only what is put together from many is read and written anew. */
export function createCopying(parts: CopyingDeps): Pick<Objects, 'copy' | 'rename'> {
  const { deps, images } = parts
  return {
    async copy(caller, from, to, options) {
      if (await images.covers(from)) return copyBytes(parts, images.locate, caller, { from, to }, options)
      const found = await findSource(deps, deps.catalog, from)
      const source = found?.object
      if (source && hasOneRow(source, options)) return copyRow(deps, caller, { from, to }, options)
      if (source?.large && options.manifest) {
        demandContainer(caller, 'read', from, found?.container)
        return copyManifest(parts, caller, { source, to }, options)
      }
      return copyBytes(parts, parts.locate, caller, { from, to }, options)
    },
    rename: (caller, from, to, { replace }) =>
      deps.catalog.transaction((tables) => rename(deps, tables, caller, { from, to, replace })),
  }
}

function findSource({ now }: OrbitDeps, { objects }: Tables, { account, container, object }: ObjectPath) {
  return objects.find({ accountId: account, container, object }, secondsOf(now()))
}

/** Whether what is to be copied is all that is stored under the name, and nothing else. */
const hasOneRow = ({ large, dynamicManifest }: StoredObject, { manifest, range }: CopyOptions): boolean =>
  !range && !large && (manifest || dynamicManifest === null)

/** Source and copy are of one transaction, so that there is no moment at which nothing needs their bytes. */
function copyRow(
  deps: OrbitDeps,
  caller: Caller,
  { from, to }: Way,
  options: CopyOptions,
): Promise<CopiedObject> {
  return deps.catalog.transaction(async (tables) => {
    const found = await findSource(deps, tables, from)
    demandContainer(caller, 'read', from, found?.container)
    const source = found?.object
    if (!source) throw notFound()
    if (!hasOneRow(source, options)) throw new OrbitRefusal('conflict', 'the source has just been replaced')
    const target = await tables.containers.findToChange(to.account, to.container)
    const container = demandContainer(caller, 'write', to, target)
    const info = infoOf(source, measureStored(source))
    const attributes = mergeAttributes(info, options)
    checkAttributes(to, attributes)
    // It would point at other objects of the target's account, which a signature for reading opens with it.
    if (caller.grant && attributes.dynamicManifest !== undefined) throw denied()
    const object = await placeObject(deps, tables, container, {
      name: to.object,
      size: source.size,
      md5: source.md5,
      content: source.content,
      large: null,
      contentType: attributes.contentType ?? source.contentType,
      headers: attributes.headers,
      metadata: attributes.metadata,
      dynamicManifest: attributes.dynamicManifest ?? null,
      deleteAt: attributes.deleteAt ?? null,
    })
    return { info: infoOf(object, measureStored(object)), source: info }
  })
}

/** In another account the same names are other segments: they are verified as for any manifest. */
async function copyManifest(
  { large, putStatic }: CopyingDeps,
  caller: Caller,
  { source, to }: { readonly source: StoredObject; readonly to: ObjectPath },
  options: CopyOptions,
): Promise<CopiedObject> {
  const info = infoOf(source, measureStored(source))
  const entries = (await large.readRows(source)).map(entryOf)
  return { info: await putStatic(caller, to, mergeAttributes(info, options), { entries }), source: info }
}

const entryOf = (row: StaticSegmentRow): StaticEntry =>
  row.kind === 'data'
    ? row
    : {
        kind: 'segment',
        path: row.name,
        etag: row.hash,
        size: row.bytes,
        ...(row.range === undefined ? {} : { range: row.range }),
      }

async function copyBytes(
  { deps, beginPut }: CopyingDeps,
  locate: Objects['locate'],
  caller: Caller,
  { from, to }: Way,
  options: CopyOptions,
): Promise<CopiedObject> {
  const { manifest = false, signal } = options
  await using located = await locate(caller, from, { manifest })
  const { info: source } = located
  const { offset, length } = options.range ?? { offset: 0, length: source.size }
  checkSize(length)
  const parts = [...cutParts(located.parts, offset, length)]
  const broken = parts.find((part) => !part.content)
  if (broken && !broken.content) throw new OrbitRefusal('conflict', broken.why)
  const attributes = mergeAttributes(source, options)
  await using upload = await beginPut(caller, to, { attributes, length, signal })
  await using reader = await deps.contents.openReader(parts)
  for await (const chunk of reader.read(0, length, signal)) await upload.write(chunk)
  return { info: await upload.finish(), source }
}

/** What the request says goes over what the source has, name by name. */
function mergeAttributes(
  source: ObjectInfo,
  { attributes, fresh = false, manifest = false }: CopyOptions,
): ObjectAttributes {
  const deleteAt = attributes.deleteAt ?? (fresh ? undefined : source.deleteAt)
  const dynamicManifest = attributes.dynamicManifest ?? (manifest ? source.dynamicManifest : undefined)
  return {
    contentType: attributes.contentType ?? source.contentType,
    headers: { ...(fresh ? {} : source.headers), ...attributes.headers },
    metadata: { ...(fresh ? {} : source.metadata), ...attributes.metadata },
    ...(deleteAt === undefined ? {} : { deleteAt }),
    ...(dynamicManifest === undefined ? {} : { dynamicManifest }),
  }
}

async function rename(
  deps: OrbitDeps,
  tables: Tables,
  caller: Caller,
  { from, to, replace }: Way & { readonly replace: boolean },
): Promise<void> {
  checkNames(to)
  // In the order of their names, so that two that go opposite ways do not wait for each other for ever.
  const key = ({ account, container }: ObjectPath) => `${account}/${container}`
  for (const { account, container } of [from, to].sort((a, b) => (key(a) < key(b) ? -1 : 1)))
    await tables.containers.findToChange(account, container)
  const source = await tables.containers.find(from.account, from.container)
  demandContainer(caller, 'read', from, source)
  const left = demandContainer(caller, 'write', from, source)
  const target = await tables.containers.find(to.account, to.container)
  const container = demandContainer(caller, 'write', to, target)
  const standing = async ({ id }: { readonly id: number }, name: string) => {
    const object = await tables.objects.findIn(id, name)
    return object && !isExpired(object, secondsOf(deps.now())) ? object : undefined
  }
  const object = await standing(left, from.object)
  if (!object) throw notFound()
  if (left.id === container.id && from.object === to.object) return
  if (!replace && (await standing(container, to.object)))
    throw new OrbitRefusal('conflict', 'There was a conflict when trying to complete your request.')
  // Before it comes to its new place, so that it is not counted twice against a quota.
  await removeObject(deps, tables, left, from.object)
  await placeObject(deps, tables, await holdContainer(tables, to), { ...object, name: to.object })
}
