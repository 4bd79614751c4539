import type { WrittenContent } from '#base/content.ts'
import type { ContentWriter } from '#data/content/content.ts'
import type { Caller, ObjectPath } from '#model/orbit.ts'
import { demandContainer } from './access.ts'
import { guessContentType } from './content-type.ts'
import { type OrbitDeps, secondsOf } from './deps.ts'
import { parseDynamicManifest } from './dynamic-manifest.ts'
import type { Expiry } from './expiry.ts'
import { checkNames, checkObjectMetadata, checkSize } from './limits.ts'
import { infoOf, measureStored } from './object-info.ts'
import {
  type ObjectAttributes,
  type ObjectInfo,
  type ObjectUpload,
  type Orbit,
  OrbitRefusal,
  type PutOptions,
} from './orbit.ts'
import { holdContainer, type ObjectDraft, placeObject } from './placing.ts'
import { demandRoom, exceeded } from './quotas.ts'

export interface UploadsDeps {
  readonly deps: OrbitDeps
  readonly expiry: Expiry
}

export function createUploads({ deps, expiry }: UploadsDeps): Pick<Orbit['objects'], 'beginPut' | 'publish'> {
  const { catalog, contents, now } = deps

  /** Decides what can be decided before there are bytes. @returns how many there may be */
  async function decide(
    caller: Caller,
    path: ObjectPath,
    { attributes, length = 0, ifNoneMatch }: Omit<PutOptions, 'signal'>,
  ): Promise<number> {
    const { account: accountId, container: name, object } = path
    const found = await catalog.objects.find({ accountId, container: name, object }, secondsOf(now()))
    const container = demandContainer(caller, 'write', path, found?.container)
    checkAttributes(path, attributes)
    if (ifNoneMatch && found?.object) throw new OrbitRefusal('precondition', '')
    const room = await demandRoom(deps, catalog, container, found?.object)
    if (length > room) throw exceeded()
    return room
  }

  /** The same where what has expired takes no room. */
  async function decideSettled(...wish: Parameters<typeof decide>): Promise<number> {
    try {
      return await decide(...wish)
    } catch (error) {
      if (!(error instanceof OrbitRefusal) || error.kind !== 'quota') throw error
      const [, { account: accountId }] = wish
      if ((await expiry.removeDue({ accountId })) === 0) throw error
      return decide(...wish)
    }
  }

  async function store(
    caller: Caller,
    path: ObjectPath,
    attributes: ObjectAttributes,
    written: WrittenContent,
    ifNoneMatch = false,
  ): Promise<ObjectInfo> {
    const draft = draftOf(path.object, attributes, written)
    const object = await catalog.transaction(async (tables) => {
      const container = await holdContainer(tables, path)
      // What was let in a while ago may not be let in any more.
      demandContainer(caller, 'write', path, container)
      return placeObject(deps, tables, container, draft, { ifNoneMatch })
    })
    return infoOf(object, measureStored(object))
  }

  return {
    async beginPut(caller, path, options) {
      const room = await decideSettled(caller, path, options)
      const { attributes, ifNoneMatch, signal } = options
      // Only of HTTP: a file of SFTP may be as large as a disk.
      checkSize(options.length ?? 0)
      const writer = contents.openWriter({ signal })
      return new Upload(writer, room, (written) => store(caller, path, attributes, written, ifNoneMatch))
    },
    async publish(caller, path, attributes, written) {
      await decideSettled(caller, path, { attributes, length: written.size })
      return store(caller, path, attributes, written)
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

class Upload implements ObjectUpload {
  readonly #writer: ContentWriter
  readonly #room: number
  readonly #store: (written: WrittenContent) => Promise<ObjectInfo>
  #size = 0

  constructor(writer: ContentWriter, room: number, store: (written: WrittenContent) => Promise<ObjectInfo>) {
    this.#writer = writer
    this.#room = room
    this.#store = store
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length
    checkSize(this.#size)
    if (this.#size > this.#room) throw exceeded()
    await this.#writer.write(chunk)
  }

  async finish({ etag }: { readonly etag?: string } = {}): Promise<ObjectInfo> {
    const written = await this.#writer.finish()
    if (etag !== undefined && etag !== written.md5)
      throw new OrbitRefusal('mismatch', 'Unable to process the contained instructions')
    return this.#store(written)
  }

  /** Only now may collection take what was written and is not named. */
  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#writer[Symbol.asyncDispose]()
  }
}
