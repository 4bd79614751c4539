import { blockingFiles } from './blocking-files.ts'
import { type Amount, countQuarantine, openFilesystemStore, removeTemporary } from './filesystem.ts'
import { measureStore, type StoreTime } from './measured.ts'
import { createReserve } from './reserve.ts'
import type { Store } from './store.ts'

/** Where a store is, as plain data, so that threads and processes can be told: a folder. */
export type StorePlace = string

export interface StoreOptions {
  /** Nobody else has the store open: what a crash left behind is cleared at once, not after a day. */
  readonly exclusive?: boolean
  /** Whose unfinished puts those of this store are: for `clearUnfinished`, where it may be ended in the middle. */
  readonly writer?: string
  /** Leaves so much of the file system free that the store lies on; undefined for a part of it. */
  readonly reserve?: { readonly bytes: number | undefined }
  /** The thread waits for files, having nothing else to do meanwhile. */
  readonly blocking?: boolean
  /** Told of each call when it has ended. */
  readonly onTime?: (time: StoreTime) => void
}

/** Opens the store at a place; any number of threads and processes may. @throws unavailable */
export async function openStore(place: StorePlace, options: StoreOptions = {}): Promise<Store> {
  const { reserve, blocking = false, onTime, ...rest } = options
  const store = await openFilesystemStore(place, {
    ...rest,
    ...(reserve && { reserve: createReserve({ directory: place, bytes: reserve.bytes }) }),
    ...(blocking && { files: blockingFiles }),
  })
  return onTime ? measureStore(store, onTime) : store
}

/** Clears away what a writer that was ended in the middle was putting. */
export function clearUnfinished(place: StorePlace, writer: string): Promise<void> {
  return removeTemporary(place, writer)
}

/** What damaged files there are that were moved away. */
export function sizeOfQuarantine(place: StorePlace): Promise<Amount> {
  return countQuarantine(place, Number.POSITIVE_INFINITY, false)
}

/** Removes what was moved away before a time, milliseconds since 1970. @returns what that was */
export function clearQuarantine(place: StorePlace, before: number): Promise<Amount> {
  return countQuarantine(place, before, true)
}
