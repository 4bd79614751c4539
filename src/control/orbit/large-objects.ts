import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Content, Part } from '#base/content.ts'
import { Resources } from '#base/resources.ts'
import type { ContainerRecord } from '#control/catalog/containers.ts'
import { afterAll, type NameWalk } from '#control/catalog/name-walk.ts'
import { isExpired, type ListedObject, type StoredObject } from '#control/catalog/objects.ts'
import type { Caller } from '#model/orbit.ts'
import { demand, demandContainer, factsOf, notFound, statusLineOf } from './access.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import { parseDynamicManifest } from './dynamic-manifest.ts'
import { type Measure, measureStored } from './object-info.ts'
import { OrbitRefusal, type StaticEntry, type StaticSegmentRow } from './orbit.ts'
import { PartList, TOO_MANY } from './part-list.ts'
import { parseManifest, rangeOfRow, type SegmentLook, verifyEntries } from './static-manifests.ts'

/** Static large objects in static large objects, the outermost counted. */
const DEPTH_MAX = 10
/** Segments that are read from the catalog at a time: they come with their bytes, where these are few. */
const PAGE = 200
/** Segments that are looked at for one object, however deep they lie and however little is in them. */
const STEPS_MAX = 300_000

export interface LargeObjects {
  /** Size and ETag of what is read. @throws what `locate` throws for a dynamic one */
  measure(caller: Caller, account: string, object: StoredObject): Promise<Measure>
  /**
   * Where the bytes of an object are, large or not. A segment of a static one that is gone, changed or out of the
   * caller's reach is a part without content: whoever needs it first of all has a conflict.
   * @throws conflict where there are too many; denied, not_found for the container that a dynamic one is gathered from
   */
  locate(
    caller: Caller,
    account: string,
    object: StoredObject,
  ): Promise<Measure & { readonly parts: readonly Part[] }>
  /** Looks at all segments. @throws invalid with `problems` */
  verify(caller: Caller, account: string, entries: readonly StaticEntry[]): Promise<StaticSegmentRow[]>
  /** The rows of a static large object. */
  readRows(object: StoredObject): Promise<StaticSegmentRow[]>
}

export type LargeObjectsDeps = Pick<OrbitDeps, 'catalog' | 'contents' | 'acquirePins' | 'now'>

/** Large objects whose parts are looked up at a time, each of which may bring many bytes into memory. */
const AT_ONCE = 4

export function createLargeObjects(deps: LargeObjectsDeps): LargeObjects {
  const turns = new Resources(Array.from({ length: AT_ONCE }, (_, index) => index))
  return {
    measure: (caller, account, object) => new Gathering(deps, caller, account).measure(object),
    async locate(caller, account, object) {
      const turn = await turns.acquire()
      try {
        const gathering = new Gathering(deps, caller, account)
        const list = new PartList()
        const measure = await gathering.collect(object, list)
        return { ...measure, parts: list.parts }
      } finally {
        turns.release(turn)
      }
    },
    verify: (caller, account, entries) => new Gathering(deps, caller, account).verify(entries),
    readRows: (object) => readRows(deps, object.content),
  }
}

type ReadNames<Row> = (containerId: number, range: Omit<NameWalk, 'groups'>) => Promise<readonly Row[]>

/** One look at a large object and everything it is made of, for somebody. */
class Gathering {
  readonly #deps: LargeObjectsDeps
  readonly #caller: Caller
  readonly #account: string
  /** By name: what segments have in common is read once. */
  readonly #containers = new Map<string, ContainerRecord | undefined>()
  readonly #segments = new Map<string, PartList | string>()
  #steps = 0

  constructor(deps: LargeObjectsDeps, caller: Caller, account: string) {
    this.#deps = deps
    this.#caller = caller
    this.#account = account
  }

  async measure(object: StoredObject): Promise<Measure> {
    if (object.large) return { ...object.large, large: 'static' }
    if (object.dynamicManifest === null) return measureStored(object)
    return this.#gather(object.dynamicManifest, this.#listed, async () => {})
  }

  /** Adds the parts of an object, whatever it is. */
  async collect(object: StoredObject, list: PartList, depth = 1): Promise<Measure> {
    if (object.large) {
      for (const row of await readRows(this.#deps, object.content)) await this.#collectRow(row, list, depth)
      return { ...object.large, large: 'static' }
    }
    if (object.dynamicManifest === null) {
      list.addWhole(object.content, object.size)
      return measureStored(object)
    }
    // A dynamic one is not gathered from others of its kind: what is stored under their names counts.
    return this.#gather(object.dynamicManifest, this.#deps.catalog.objects.walkWhole, async (segment) => {
      if (segment.large) await this.collect(segment, list, depth + 1)
      else list.addWhole(segment.content, segment.size)
    })
  }

  async #collectRow(row: StaticSegmentRow, list: PartList, depth: number): Promise<void> {
    await this.#step()
    if (row.kind === 'data') return list.addWhole({ kind: 'inline', bytes: row.bytes }, row.bytes.length)
    const { offset, length } = rangeOfRow(row)
    const key = JSON.stringify([row.name, row.hash, row.bytes, depth])
    const found = this.#segments.get(key) ?? (await this.#collectSegment(row, depth))
    this.#segments.set(key, found)
    if (typeof found === 'string') list.addBroken(found, length)
    else for (const part of found.cut(offset, length)) list.add(part)
  }

  /** @returns why it is not what the row says */
  async #collectSegment(
    row: Extract<StaticSegmentRow, { kind: 'segment' }>,
    depth: number,
  ): Promise<PartList | string> {
    const list = new PartList()
    const object = await this.#find(row.name)
    if (typeof object === 'string') return `segment ${row.name}: ${object}`
    if ((object.large || object.dynamicManifest !== null) && depth >= DEPTH_MAX)
      return `segment ${row.name}: more than ${DEPTH_MAX} levels deep`
    const { size, etag } = await this.measure(object)
    if (size !== row.bytes || etag !== row.hash) return `segment ${row.name} has changed`
    await this.collect(object, list, depth + 1)
    return list
  }

  async verify(entries: readonly StaticEntry[]): Promise<StaticSegmentRow[]> {
    const looks = new Map<string, SegmentLook>()
    for (const entry of entries) {
      if (entry.kind === 'data' || looks.has(entry.path)) continue
      looks.set(entry.path, await this.#look(entry.path))
    }
    return verifyEntries(entries, looks)
  }

  async #look(path: string): Promise<SegmentLook> {
    const object = await this.#find(path)
    if (typeof object === 'string') return { found: false, status: object }
    try {
      const { size, etag } = await this.measure(object)
      const { contentType, modifiedAt } = object
      return { found: true, size, etag, contentType, modifiedAt, isStatic: object.large !== null }
    } catch (error) {
      if (error instanceof OrbitRefusal) return { found: false, status: statusLineOf(this.#caller, error) }
      throw error
    }
  }

  /** @param path `/container/object` @returns the status line of why not */
  async #find(path: string): Promise<StoredObject | string> {
    const [, container = '', name = ''] = /^\/*([^/]+)\/(.+)$/s.exec(path) ?? []
    try {
      const record = await this.#container(container)
      demandContainer(this.#caller, 'read', { account: this.#account, container }, record)
      const { catalog, now } = this.#deps
      const object = record && (await catalog.objects.findIn(record.id, name))
      if (object && !isExpired(object, secondsOf(now()))) return object
      throw notFound()
    } catch (error) {
      if (error instanceof OrbitRefusal) return statusLineOf(this.#caller, error)
      throw error
    }
  }

  /** Without the bytes of what is small: that is most of the work. */
  readonly #listed: ReadNames<ListedObject> = async (containerId, range) =>
    (await this.#deps.catalog.objects.walk(containerId, range)).map(({ row }) => row)

  /** Reads the segments of a dynamic large object, in their order. */
  async #gather<Segment extends ListedObject>(
    value: string,
    read: ReadNames<Segment>,
    take: (segment: Segment) => Promise<void>,
  ): Promise<Measure> {
    const { container, prefix } = parseDynamicManifest(value)
    const path = { account: this.#account, container }
    const found = await this.#container(container)
    const record = demandContainer(this.#caller, 'gather', path, found)
    demand(this.#caller, { action: 'read', container: factsOf(path, record) })
    const at = secondsOf(this.#deps.now())
    const etag = createHash('md5')
    let size = 0
    let lower = { name: prefix, inclusive: true }
    for (;;) {
      const range = { lower, upper: afterAll(prefix), reverse: false, limit: PAGE }
      const page = await read(record.id, range)
      for (const segment of page.filter((one) => !isExpired(one, at))) {
        etag.update(segment.large?.etag ?? segment.md5)
        size += segment.large?.size ?? segment.size
        await this.#step()
        await take(segment)
      }
      const last = page.at(-1)
      if (!last || page.length < PAGE) return { size, etag: etag.digest('hex'), large: 'dynamic' }
      lower = { name: last.name, inclusive: false }
    }
  }

  async #container(name: string): Promise<ContainerRecord | undefined> {
    if (this.#containers.has(name)) return this.#containers.get(name)
    const found = await this.#deps.catalog.containers.find(this.#account, name)
    this.#containers.set(name, found)
    return found
  }

  /** Counts what a stranger can make long, and lets others have their turn. @throws conflict */
  async #step(): Promise<void> {
    this.#steps++
    if (this.#steps > STEPS_MAX) throw new OrbitRefusal('conflict', TOO_MANY)
    if (this.#steps % 256 === 0) await setImmediate()
  }
}

/** A manifest that was accepted is shorter: eight MiB came in, and each row has grown by less than 3 KiB. */
const MANIFEST_MAX = 32 * 1024 * 1024

async function readRows(
  { contents, acquirePins }: LargeObjectsDeps,
  content: Content,
): Promise<StaticSegmentRow[]> {
  if (content.kind === 'inline') return parseManifest(Buffer.from(content.bytes).toString())
  if (content.size > MANIFEST_MAX) throw new Error('internal error: a static manifest that is too large')
  await using _pin = await acquirePins([content.manifest])
  await using reader = await contents.openReader([{ content, offset: 0, length: content.size }])
  const chunks: Buffer[] = []
  for await (const chunk of reader.read(0, content.size, new AbortController().signal))
    chunks.push(Buffer.from(chunk))
  return parseManifest(Buffer.concat(chunks).toString())
}
