import { setTimeout as sleep } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import { orAbort } from '#base/or-abort.ts'

const PAUSE_MS = 200

/** Tries again while the store is `unavailable`, for so long; then gives what it said last, or the signal's reason. */
export async function patiently<T>(
  work: () => Promise<T>,
  patienceMs: number,
  signal: AbortSignal,
): Promise<T> {
  for (let waited = 0; ; waited += PAUSE_MS) {
    try {
      return await work()
    } catch (error) {
      const passes = error instanceof LibraryError && error.code === 'unavailable'
      if (!passes || waited >= patienceMs || signal.aborted) throw error
    }
    await orAbort(sleep(PAUSE_MS), signal)
  }
}
