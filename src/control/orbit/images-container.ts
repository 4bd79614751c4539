import { createHash } from 'node:crypto'
import type { Content } from '#base/content.ts'
import { LibraryError } from '#base/errors.ts'
import type { ReadableImage } from '#control/catalog/images.ts'
import { isId } from '#model/ids.ts'
import { hasBytes } from '#model/image-rules.ts'
import type { Caller, ContainerPath, ObjectPath } from '#model/orbit.ts'
import { demand, imagesFacts, notFound } from './access.ts'
import { toRow } from './containers.ts'
import type { OrbitDeps } from './deps.ts'
import { listNames, walkRows } from './listing.ts'
import type { ContainerInfo, LocatedObject, ObjectInfo, Orbit } from './orbit.ts'
import { readPinned } from './pinning.ts'

export type ImageForm = Extract<Content, { kind: 'manifest' }>['form']

/** The container in which an account finds its images as objects. */
export const IMAGES = 'images'

/** Raised when the bytes of a form change, so that no cache mixes old and new. */
const ETAG_VERSION = 1
/** Sizes remembered; each takes some hundred bytes. */
const SIZES_MAX = 50_000

const LZ4_TYPE = 'application/x-lz4'
const FORMS: Readonly<Record<string, { readonly form: ImageForm; readonly contentType: string }>> = {
  '': { form: 'lz4', contentType: LZ4_TYPE },
  '.raw': { form: 'raw', contentType: 'application/octet-stream' },
  '.qcow2': { form: 'qcow2', contentType: 'application/x-qcow2' },
}

/**
 * The account's images in their LZ4 form, under their ids; `.raw` and `.qcow2` behind these read them in other forms,
 * which are not listed. What is there came by registration and goes by destroying: nobody writes here.
 */
export interface ImagesContainer extends Pick<Orbit['containers'], 'show' | 'list'> {
  /** Whether that is where the account has its images container. */
  covers(path: ContainerPath): Promise<boolean>
  showObject(caller: Caller, path: ObjectPath): Promise<ObjectInfo>
  locate(caller: Caller, path: ObjectPath): Promise<LocatedObject>
}

type Deps = Pick<OrbitDeps, 'catalog' | 'acquirePins' | 'contents'>

export function createImagesContainer(deps: Deps): ImagesContainer {
  const { catalog } = deps
  const sizes = createSizes(deps)

  async function findImage({ account, object }: ObjectPath) {
    const [, id = '', suffix = ''] = /^(img-[0-9a-z]+)(\.raw|\.qcow2)?$/.exec(object) ?? []
    const form = FORMS[suffix]
    const image = isId('img', id) ? await catalog.images.find(id) : undefined
    if (!image || !form || image.accountId !== account || !hasBytes(image)) throw notFound()
    const { manifest } = image
    if (manifest === null)
      throw new Error(`internal error: image ${id} is ${image.status} without a manifest`)
    return { image: { ...image, manifest }, ...form }
  }

  async function read(path: ObjectPath): Promise<{ info: ObjectInfo; content: Content }> {
    const { image, form, contentType } = await findImage(path)
    const { manifest } = image
    const size = await sizes.of(manifest, form)
    return {
      info: {
        name: path.object,
        size,
        etag: etagOf(manifest, form),
        // So that nobody takes the ETag for an MD5 of the bytes.
        large: 'static',
        contentType,
        headers: {},
        metadata: {},
        modifiedAt: image.createdAt * 1000,
        deleteAt: undefined,
        dynamicManifest: undefined,
        manifestEtag: undefined,
      },
      content: { kind: 'manifest', manifest, form, size },
    }
  }

  async function survey(caller: Caller, path: ContainerPath) {
    demand(caller, { action: 'list', container: imagesFacts(path) })
    const account = await catalog.orbitAccounts.find(path.account)
    if (!account) throw notFound()
    const images = await catalog.images.listReadable(path.account)
    const rows = (await Array.fromAsync(images, rowOf)).filter((row) => row !== undefined)
    const info: ContainerInfo = {
      container: path.container,
      objectCount: rows.length,
      bytesUsed: rows.reduce((sum, { size }) => sum + size, 0),
      createdAt: account.createdAt,
      updatedAt: account.createdAt,
      metadata: {},
      read: undefined,
      write: undefined,
      versions: undefined,
    }
    return { info, rows }
  }

  /** Undefined where the image was destroyed meanwhile. */
  async function rowOf({ id, manifest, createdAt }: ReadableImage) {
    const etag = etagOf(manifest, 'lz4')
    const size = await sizes.of(manifest, 'lz4').catch((error: unknown) => {
      if (error instanceof LibraryError && error.code === 'not_found') return undefined
      throw error
    })
    if (size === undefined) return undefined
    const modifiedAt = createdAt * 1000
    return { name: id, size, md5: etag, large: { size, etag }, contentType: LZ4_TYPE, modifiedAt }
  }

  return {
    async covers({ account, container }) {
      return container === IMAGES && (await catalog.orbitAccounts.find(account))?.imagesContainer === true
    },
    show: async (caller, path) => (await survey(caller, path)).info,
    async list(caller, path, query) {
      const { info, rows } = await survey(caller, path)
      return { info, rows: (await listNames(walkRows(rows), query)).map(toRow) }
    },
    async showObject(caller, path) {
      demand(caller, { action: 'read', container: imagesFacts(path) })
      return (await read(path)).info
    },
    async locate(caller, path) {
      demand(caller, { action: 'read', container: imagesFacts(path) })
      const located = await readPinned(deps, async () => {
        const value = await read(path)
        return { value, manifests: value.content.kind === 'manifest' ? [value.content.manifest] : [] }
      })
      const { info, content } = located.value
      const parts = info.size === 0 ? [] : [{ content, offset: 0, length: info.size }]
      return { info, parts, [Symbol.asyncDispose]: () => located[Symbol.asyncDispose]() }
    },
  }
}

/** One for each form of a disk, for ever: 32 hex digits. */
const etagOf = (manifest: string, form: ImageForm): string =>
  createHash('sha256').update(`${form}-${ETAG_VERSION}-${manifest}`).digest('hex').slice(0, 32)

/** Sizes follow from manifests, which never change; finding one out reads all of a manifest. */
function createSizes({ acquirePins, contents }: Pick<Deps, 'acquirePins' | 'contents'>) {
  const known = new Map<string, number>()

  async function measure(manifest: string, form: ImageForm): Promise<number> {
    await using _pin = await acquirePins([manifest])
    try {
      return await contents.measure(manifest, form)
    } catch (error) {
      // A disk that this form cannot hold.
      if (error instanceof LibraryError && error.code === 'invalid') throw notFound()
      throw error
    }
  }

  return {
    async of(manifest: string, form: ImageForm): Promise<number> {
      const key = `${form}-${manifest}`
      const size = known.get(key) ?? (await measure(manifest, form))
      known.delete(key)
      known.set(key, size)
      const [oldest] = known.size > SIZES_MAX ? known.keys() : []
      if (oldest !== undefined) known.delete(oldest)
      return size
    },
  }
}
