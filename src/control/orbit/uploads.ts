import type { WrittenContent } from '#base/content.ts'
import type { Share } from '#base/shares.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import { type ContentWriter, INLINE_MAX } from '#data/content/content.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { demandContainer } from './access.ts'
import { guessContentType } from './content-type.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import { parseDynamicManifest } from './dynamic-manifest.ts'
import type { Expiry } from './expiry.ts'
import { HeldRoom } from './held-room.ts'
import { checkNames, checkObjectMetadata, checkSize } from './limits.ts'
import { infoOf, measureStored } from './object-info.ts'
import {
  type ObjectAttributes,
  type ObjectInfo,
  type ObjectRoom,
  type ObjectUpload,
  type Orbit,
  OrbitRefusal,
  type PutOptions,
} from './orbit.ts'
import { holdContainer, type ObjectDraft, type PlaceOptions, placeObject } from './placing.ts'
import { demandRoom, exceeded } from './quotas.ts'

/** What is decided by before there are bytes. */
type Wish = Omit<PutOptions, 'signal'> & { readonly mine?: ObjectRoom['mine'] | undefined }

export interface UploadsDeps {
  readonly deps: OrbitDeps
  readonly expiry: Expiry
}

export function createUploads({
  deps,
  expiry,
}: UploadsDeps): Pick<Orbit['objects'], 'beginPut' | 'hold' | 'publish'> {
  const { catalog, contents, now, seats } = deps
  /** Whoever writes blocks holds memory for some, at his own pace. */
  const seatOf = ({ session }: Caller, { account }: ObjectPath) => seats.enter(session?.accountId ?? account)

  /** Decides what can be decided before there are bytes. @returns where they go, and whether quotas bound them */
  async function decide(
    tables: Tables,
    caller: Caller,
    path: ObjectPath,
    { attributes, length = 0, ifNoneMatch, mine }: Wish,
  ) {
    const { account: accountId, container: name, object } = path
    const found = await tables.objects.find({ accountId, container: name, object }, secondsOf(now()))
    const container = demandContainer(caller, 'write', path, found?.container)
    checkAttributes(path, attributes)
    if (ifNoneMatch && found?.object) throw new OrbitRefusal('precondition', '')
    const replaced = found?.object
    const isKept = container.versions !== null
    const room = await demandRoom(deps, tables, container, { replaced, isKept, mine })
    if (length > room) throw exceeded()
    return { container, isBound: Number.isFinite(room) || container.metadata['quota-count'] !== undefined }
  }

  /** The same where what has expired takes no room. */
  async function decideSettled(...wish: [Caller, ObjectPath, Wish]): ReturnType<typeof decide> {
    try {
      return await decide(catalog, ...wish)
    } catch (error) {
      if (!(error instanceof OrbitRefusal) || error.kind !== 'quota') throw error
      const [, { account: accountId }] = wish
      if ((await expiry.removeDue({ accountId })) === 0) throw error
      return decide(catalog, ...wish)
    }
  }

  async function store(
    caller: Caller,
    path: ObjectPath,
    attributes: ObjectAttributes,
    written: WrittenContent,
    options: PlaceOptions = {},
  ): Promise<ObjectInfo> {
    const draft = draftOf(path.object, attributes, written)
    const object = await catalog.transaction(async (tables) => {
      const container = await holdContainer(tables, path)
      // What was let in a while ago may not be let in any more.
      demandContainer(caller, 'write', path, container)
      return placeObject(deps, tables, container, draft, options)
    })
    return infoOf(object, measureStored(object))
  }

  return {
    async beginPut(caller, path, options) {
      const { attributes, length, ifNoneMatch = false, signal } = options
      const where = await decideSettled(caller, path, options)
      // Only of HTTP: a file of SFTP may be as large as a disk.
      checkSize(length ?? 0)
      using begun = new DisposableStack()
      const held = begun.use(new HeldRoom({ deps, object: path.object, ...where }))
      await held.extend(length ?? 0, { isAll: length !== undefined })
      const space = begun.use(deps.reserve.promise(length ?? 0))
      const seat = begun.use(seatOf(caller, path))
      if (length !== undefined && length > INLINE_MAX) seat.add(1)
      const writer = contents.openWriter({ signal })
      const open = begun.move()
      return new Upload({
        writer,
        held,
        open,
        seat: length === undefined ? seat : undefined,
        onSize: (size) => space.set(Math.max(0, (length ?? size) - size)),
        store: (written) => store(caller, path, attributes, written, { ifNoneMatch, room: held }),
      })
    },
    async hold(caller, path) {
      const where = await decideSettled(caller, path, { attributes: { headers: {}, metadata: {} } })
      // How much there will be nobody knows; that there is any room is known now.
      deps.reserve.promise(0)[Symbol.dispose]()
      using begun = new DisposableStack()
      const seat = begun.use(seatOf(caller, path))
      seat.add(1)
      const held = begun.use(new HeldRoom({ deps, object: path.object, ...where }))
      await held.extend(0)
      const open = begun.move()
      return {
        extend: (size) => held.extend(size),
        get mine() {
          return held.mine
        },
        [Symbol.dispose]: () => open[Symbol.dispose](),
      }
    },
    async publish(caller, path, attributes, written, room) {
      await decideSettled(caller, path, { attributes, length: written.size, mine: room?.mine })
      return store(caller, path, attributes, written, { room })
    },
  }
}

/** @throws invalid in Swift's words */
export function checkAttributes(path: ObjectPath, { metadata, dynamicManifest }: ObjectAttributes): void {
  checkNames(path)
  checkObjectMetadata(metadata)
  if (dynamicManifest !== undefined) parseDynamicManifest(dynamicManifest)
}

/** An object of these bytes. */
export const draftOf = (
  name: string,
  { contentType, headers, metadata, deleteAt, dynamicManifest }: ObjectAttributes,
  { content, size, md5 }: WrittenContent,
): ObjectDraft => ({
  name,
  size,
  md5,
  large: null,
  contentType: contentType ?? guessContentType(name),
  headers,
  metadata,
  dynamicManifest: dynamicManifest ?? null,
  deleteAt: deleteAt ?? null,
  content,
})

interface UploadParts {
  readonly writer: ContentWriter
  readonly held: HeldRoom
  /** To be taken once it is no small one any more. */
  readonly seat: Share | undefined
  /** What ends with the upload. */
  readonly open: Disposable
  readonly onSize: (size: number) => void
  readonly store: (written: WrittenContent) => Promise<ObjectInfo>
}

class Upload implements ObjectUpload {
  readonly #parts: UploadParts
  #size = 0

  constructor(parts: UploadParts) {
    this.#parts = parts
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { writer, held, seat, onSize } = this.#parts
    const isFirstLarge = this.#size <= INLINE_MAX && this.#size + chunk.length > INLINE_MAX
    this.#size += chunk.length
    checkSize(this.#size)
    if (isFirstLarge) seat?.add(1)
    await held.extend(this.#size)
    await writer.write(chunk)
    onSize(this.#size)
  }

  async finish({ etag }: { readonly etag?: string } = {}): Promise<ObjectInfo> {
    const written = await this.#parts.writer.finish()
    if (etag !== undefined && etag !== written.md5)
      throw new OrbitRefusal('mismatch', 'Unable to process the contained instructions')
    return this.#parts.store(written)
  }

  /** Only now may collection take what was written and is not named. */
  [Symbol.asyncDispose](): PromiseLike<void> {
    this.#parts.open[Symbol.dispose]()
    return this.#parts.writer[Symbol.asyncDispose]()
  }
}
