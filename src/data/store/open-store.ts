import { blockingFiles } from './blocking-files.ts'
import { type Amount, countQuarantine, openFilesystemStore, removeTemporary } from './filesystem.ts'
import { measureStore, type StoreTime } from './measured.ts'
import { cacheReads } from './read-cache.ts'
import { createReserve } from './reserve.ts'
import type { S3Place } from './s3/place.ts'
import type { BlockStore, Store } from './store.ts'

/** Where a store is, as plain data, so that threads and processes can be told: a folder, or an object store. */
export type StorePlace = string | S3Place

export interface StoreOptions {
  /** Nobody else has the store open: what a crash left behind is cleared at once, not after a day. */
  readonly exclusive?: boolean
  /** Whose unfinished puts those of this store are: for `clearUnfinished`, where it may be ended in the middle. */
  readonly writer?: string
  /** In a folder: leaves so much of its file system free; undefined for a part of it. */
  readonly reserve?: { readonly bytes: number | undefined }
  /** The thread waits for files, having nothing else to do meanwhile. */
  readonly blocking?: boolean
  /** Told of each call when it has ended. */
  readonly onTime?: (time: StoreTime) => void
}

/** Opens the store at a place; any number of threads and processes may. @throws unavailable */
export async function openStore(place: StorePlace, options: StoreOptions = {}): Promise<Store> {
  const { onTime, ...rest } = options
  const store =
    typeof place === 'string' ? await openFolder(place, rest) : (await loadS3()).openS3Store(place)
  return onTime ? measureStore(store, onTime) : store
}

/** Only where it is needed: each thread that loads it takes tens of milliseconds more to start. */
const loadS3 = () => import('./s3/open-s3-store.ts')

function openFolder(
  directory: string,
  { reserve, blocking = false, ...rest }: Omit<StoreOptions, 'onTime'>,
): Promise<Store> {
  return openFilesystemStore(directory, {
    ...rest,
    ...(reserve && { reserve: createReserve({ directory, bytes: reserve.bytes }) }),
    ...(blocking && { files: blockingFiles }),
  })
}

/**
 * What readers of blocks use: with what was read last at hand, where the place says so.
 * @param reserve bytes that are left free there
 */
export function readsOf(
  place: StorePlace,
  blocks: BlockStore,
  reserve: number | undefined,
): Pick<BlockStore, 'readInto'> {
  return typeof place === 'string' || !place.cache ? blocks : cacheReads(blocks, place.cache, reserve)
}

/** Clears away what a writer that was ended in the middle was putting. */
export async function clearUnfinished(place: StorePlace, writer: string): Promise<void> {
  // In an object store nothing is visible that is not finished.
  if (typeof place === 'string') await removeTemporary(place, writer)
}

/** What damaged files there are that were moved away. */
export async function sizeOfQuarantine(place: StorePlace): Promise<Amount> {
  if (typeof place !== 'string') return (await loadS3()).countS3Quarantine(place, 0, false)
  return countQuarantine(place, Number.POSITIVE_INFINITY, false)
}

/** Removes what was moved away before a time, milliseconds since 1970. @returns what that was */
export async function clearQuarantine(place: StorePlace, before: number): Promise<Amount> {
  if (typeof place !== 'string') return (await loadS3()).countS3Quarantine(place, Date.now() - before, true)
  return countQuarantine(place, before, true)
}
