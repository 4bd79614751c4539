import type { ObjectInfo } from '#control/orbit/orbit.ts'
import type { ShownAttributes } from './attributes.ts'
import { type DirectoryEntry, listPrefix, listRoot } from './directory.ts'
import { type Files, isMarker, MARKER, mtimeOf, type ObjectName, secondsOf } from './files.ts'
import type { Place } from './paths.ts'
import { failure, noSuchFile } from './sftp-failure.ts'

/** Objects that are moved one after the other when a directory is renamed; of more, none is. */
const RENAME_MAX = 10_000

type Inside = Extract<Place, { kind: 'inside' }>

export interface RenameOptions {
  readonly replace: boolean
}

/** Containers and objects as directories and files. All functions throw SftpFailure or OrbitRefusal. */
export interface FileTree {
  show(place: Place): Promise<ShownAttributes>
  /** What stands under a name, a file or a directory; undefined for nothing. */
  find(place: Inside): Promise<Found | undefined>
  list(place: Place): Promise<AsyncGenerator<readonly DirectoryEntry[]>>
  makeDirectory(place: Place): Promise<void>
  removeDirectory(place: Place): Promise<void>
  removeFile(place: Place): Promise<void>
  rename(from: Place, to: Place, options: RenameOptions): Promise<void>
}

export type Found =
  | { readonly kind: 'file'; readonly info: ObjectInfo }
  | { readonly kind: 'directory'; readonly mtime: number }

export const objectOf = ({ container, name }: Inside): ObjectName => ({ container, object: name })

export function createFileTree(files: Files): FileTree {
  async function find(place: Inside): Promise<Found | undefined> {
    const { object, hasChildren, containerChangedAt } = await files.look(objectOf(place))
    if (object && !hasChildren && !isMarker(object.contentType)) return { kind: 'file', info: object }
    if (!object && !hasChildren) return undefined
    return { kind: 'directory', mtime: object ? mtimeOf(object) : secondsOf(containerChangedAt) }
  }

  /** Who removes the last file of a directory expects to find the directory, and to remove it then. */
  async function keepParent({ container, name }: Inside): Promise<void> {
    const slash = name.lastIndexOf('/')
    if (slash < 0) return
    const prefix = name.slice(0, slash + 1)
    const left = await files.namesUnder(container, prefix, 1)
    if (left.length === 0) await makeMarker(container, prefix)
  }

  const makeMarker = (container: string, object: string) =>
    files.publish({ container, object }, MARKER.attributes, MARKER.written)

  async function renameDirectory(from: Inside, to: Inside): Promise<void> {
    const [fromPrefix, toPrefix] = [`${from.name}/`, `${to.name}/`]
    if (from.container === to.container && toPrefix.startsWith(fromPrefix)) {
      throw failure('a directory cannot be moved into itself')
    }
    const children = await files.namesUnder(from.container, fromPrefix, RENAME_MAX)
    if (children.length === RENAME_MAX) {
      throw failure(`directories of ${RENAME_MAX} files and more cannot be renamed`)
    }
    for (const child of children) {
      const target = { container: to.container, object: toPrefix + child.slice(fromPrefix.length) }
      await files.rename({ container: from.container, object: child }, target, { replace: true })
    }
    // The other kind of marker, which has no slash and so is none of the children.
    const { object } = await files.look(objectOf(from))
    if (object && isMarker(object.contentType))
      await files.rename(objectOf(from), objectOf(to), { replace: true })
    await keepParent(from)
  }

  return {
    find,

    async show(place) {
      // The root is older than anything.
      if (place.kind === 'root') return { kind: 'directory', mtime: 0 }
      if (place.kind === 'container') {
        return { kind: 'directory', mtime: secondsOf(await files.showContainer(place.container)) }
      }
      const found = await find(place)
      if (!found) throw noSuchFile()
      if (found.kind === 'directory') return found
      return { kind: 'file', size: found.info.size, mtime: mtimeOf(found.info) }
    },

    async list(place) {
      if (place.kind === 'root') return listRoot(files)
      if (place.kind === 'container') {
        await files.showContainer(place.container)
        return listPrefix(files, place.container, '')
      }
      const found = await find(place)
      if (!found) throw noSuchFile()
      if (found.kind === 'file') throw failure('Not a directory')
      return listPrefix(files, place.container, `${place.name}/`)
    },

    async makeDirectory(place) {
      if (place.kind === 'root') throw failure('File exists')
      if (place.kind === 'container') {
        if (!(await files.makeContainer(place.container))) throw failure('File exists')
        return
      }
      if (await find(place)) throw failure('File exists')
      await makeMarker(place.container, `${place.name}/`)
    },

    async removeDirectory(place) {
      if (place.kind === 'root') throw failure('Directory not empty')
      if (place.kind === 'container') return await files.removeContainer(place.container)
      const { container, name } = place
      const found = await find(place)
      if (!found) throw noSuchFile()
      if (found.kind === 'file') throw failure('Not a directory')
      const markers = await files.namesUnder(container, `${name}/`, 2)
      if (markers.some((child) => child !== `${name}/`)) throw failure('Directory not empty')
      for (const object of markers) await files.remove({ container, object })
      const { object } = await files.look(objectOf(place))
      if (object && isMarker(object.contentType)) await files.remove(objectOf(place))
      await keepParent(place)
    },

    async removeFile(place) {
      if (place.kind !== 'inside') throw failure('Is a directory')
      const found = await find(place)
      if (!found) throw noSuchFile()
      if (found.kind === 'directory') throw failure('Is a directory')
      await files.remove(objectOf(place))
      await keepParent(place)
    },

    async rename(from, to, { replace }) {
      if (from.kind !== 'inside' || to.kind !== 'inside') throw failure('containers cannot be renamed')
      const [source, target] = await Promise.all([find(from), find(to)])
      if (!source) throw noSuchFile()
      if (from.container === to.container && from.name === to.name) return
      if (target?.kind === 'directory' || (target && (source.kind === 'directory' || !replace))) {
        throw failure('File exists')
      }
      if (source.kind === 'directory') return await renameDirectory(from, to)
      await files.rename(objectOf(from), objectOf(to), { replace })
      await keepParent(from)
    },
  }
}
