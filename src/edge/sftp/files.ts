import type { Part, WrittenContent } from '#base/content.ts'
import type { ObjectAttributes, ObjectInfo } from '#control/orbit/orbit.ts'
import type { ContainerPath, ObjectPath, Timestamp } from '#model/orbit.ts'

/** A container or object of the account that somebody is logged in to. */
export type ContainerName = ContainerPath['container']
export type ObjectName = Pick<ObjectPath, 'container' | 'object'>

/**
 * What a connection asks of Orbit, in the name of its login; answered by the main process, which alone has a catalog.
 * All functions throw OrbitRefusal.
 */
export interface Files {
  /** One page of containers behind `marker`; none where the login may not list them. */
  listContainers(marker: string): Promise<ListedPage<ListedContainer>>
  /** One page of what is directly in a directory, whose prefix is empty or ends in a slash. */
  list(container: ContainerName, prefix: string, marker: string): Promise<ListedPage<ListedName>>
  /** When the container was last changed itself. */
  showContainer(container: ContainerName): Promise<Timestamp>
  /** @returns false where it is there already */
  makeContainer(container: ContainerName): Promise<boolean>
  removeContainer(container: ContainerName): Promise<void>

  /** What stands under a name: an object, a directory, both or neither. @throws not_found for a missing container */
  look(name: ObjectName): Promise<Look>
  /** The names of objects that begin with a prefix, at most `limit`. */
  namesUnder(container: ContainerName, prefix: string, limit: number): Promise<readonly string[]>
  /** The object and where its bytes are, kept from collection until the lease is released. */
  locate(name: ObjectName): Promise<Located>
  release(lease: number): Promise<void>
  /**
   * Takes room of the quotas for a file that is to be written, until the lease is released.
   * @returns how many bytes it may have without asking for more
   * @throws denied, not_found, quota… as a PUT of unknown length would before its bytes come
   */
  hold(name: ObjectName): Promise<{ readonly lease: number; readonly size: number }>
  /** @returns how many bytes a file that room is held for may have by now, at least `size` @throws quota */
  extend(lease: number, size: number): Promise<number>
  /** @param lease of the room that was held for it, which is used up */
  publish(
    name: ObjectName,
    attributes: ObjectAttributes,
    written: WrittenContent,
    lease?: number,
  ): Promise<void>
  /** Sets one value of the object's metadata and leaves everything else. */
  setMetadata(name: ObjectName, key: string, value: string): Promise<void>
  remove(name: ObjectName): Promise<void>
  rename(from: ObjectName, to: ObjectName, options: { readonly replace: boolean }): Promise<void>
  /** Space of the account, or of the container where that has a quota of its own. */
  usage(container: ContainerName | undefined): Promise<Usage>
}

export interface ListedContainer {
  readonly name: string
  readonly modifiedAt: Timestamp
}

export type ListedName =
  | {
      readonly kind: 'file'
      /** The whole name of the object. */
      readonly name: string
      /** Bytes, of a large object those of all its parts. */
      readonly size: number
      /** Seconds since 1970. */
      readonly mtime: number
    }
  /** An object that stands for a directory, or the common beginning of several, without the slash at its end. */
  | { readonly kind: 'marker' | 'subdir'; readonly name: string; readonly mtime: number }

/** A page, and what to ask for the next one by; undefined at the end. */
export interface ListedPage<T> {
  readonly rows: readonly T[]
  readonly next: string | undefined
}

export interface Look {
  readonly object: ObjectInfo | undefined
  /** Whether there are names below it, the marker `name/` among them. */
  readonly hasChildren: boolean
  /** When the container was last changed itself. */
  readonly containerChangedAt: Timestamp
}

export interface Located {
  readonly lease: number
  readonly info: ObjectInfo
  readonly parts: readonly Part[]
}

export interface Usage {
  readonly bytesUsed: number
  readonly objectCount: number
  /** Undefined where there is no quota. */
  readonly quota: number | undefined
}

/** Names in one page of a listing: each is looked at by itself, and others have their turn in between. */
export const PAGE = 200

/** Swift's clients and rclone keep the time of a file here, in seconds with a fraction. */
export const MTIME = 'mtime'

const DIRECTORY_TYPE = 'application/directory'

/** Whether an object stands for a directory, as Swift's clients write it. */
export const isMarker = (contentType: string): boolean =>
  contentType.split(';', 1)[0]?.trim().toLowerCase() === DIRECTORY_TYPE

/** What to say of a directory that is made. */
export const MARKER: { readonly attributes: ObjectAttributes; readonly written: WrittenContent } = {
  attributes: { contentType: DIRECTORY_TYPE, headers: {}, metadata: {} },
  written: {
    content: { kind: 'inline', bytes: new Uint8Array(0) },
    size: 0,
    md5: 'd41d8cd98f00b204e9800998ecf8427e',
  },
}

/** Seconds since 1970: what a client once set, else when the object was written. */
export function mtimeOf({ metadata, modifiedAt }: Pick<ObjectInfo, 'metadata' | 'modifiedAt'>): number {
  const set = Number.parseFloat(metadata[MTIME] ?? '')
  return Number.isFinite(set) && set >= 0 ? set : secondsOf(modifiedAt)
}

export const secondsOf = (at: Timestamp): number => at / 1e6
