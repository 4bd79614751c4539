import type { Ledger, Promised } from '#base/ledger.ts'
import type { Shares } from '#base/shares.ts'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { ContentStore } from '#data/content/content.ts'
import type { Timestamp } from '#model/orbit.ts'

/** What Orbit stands on. */
export interface OrbitDeps {
  readonly catalog: Catalog
  readonly contents: ContentStore
  /** Keeps manifests from collection while they are read. */
  readonly acquirePins: (manifests: Iterable<string>) => Promise<AsyncDisposable>
  /**
   * Makes collection leave alone what is written from now on, until disposed of. Writers and editors do so by
   * themselves; who else makes a manifest (`contents.join`) holds one until the manifest's row is committed.
   */
  readonly keep: () => Promise<AsyncDisposable>
  /** Strictly rising. */
  readonly now: () => Timestamp
  /** Bytes that an account may have in all; undefined for no bound. */
  readonly quota: number | undefined
  /** Places for uploads that are larger than what is kept beside their row; one with the library. */
  readonly seats: Shares
  /** Bytes that work under way is going to add; one with the library, by `promisedKey` and `keysOf`. */
  readonly promised: Ledger
  /** Gives space of the store to what is announced. @throws NoRoom */
  readonly reserve: { promise(bytes: number): Promised }
  /** What an account has besides its objects: bytes of images and of uploads that become images. */
  readonly bytesOfImages: (tables: Tables, accountId: string) => Promise<number>
}

/** Seconds since 1970, by which objects expire. */
export const secondsOf = (at: Timestamp): number => Math.floor(at / 1e6)
