import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { KEEP_ALL } from '#control/catalog/upload-guards.ts'
import { PIN_MS, RENEW_MS } from './overdue.ts'

/** How long it counts at first: a catalog that is read meanwhile may keep what renews it waiting. */
const FIRST_MS = 3600_000

export interface KeepAllOptions {
  readonly catalog: Pick<Catalog, 'relaxed'>
  /** Names whoever keeps it; nobody else has it. */
  readonly holder: string
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Milliseconds by a clock that nobody sets. */
  readonly elapsed: () => number
}

export interface KeptAll extends AsyncDisposable {
  /** @throws unavailable where this process stood still for so long that something may have been removed since */
  demand(): void
}

/**
 * Keeps all that is stored from collections, which remove nothing until this is disposed of. One that goes on already
 * removes what its catalog did not name as it began, so nothing that a catalog names which is read from now on.
 */
export async function keepAllStored({ catalog, holder, now, elapsed }: KeepAllOptions): Promise<KeptAll> {
  let until = 0
  const set = async (lastsMs: number) => {
    const askedAt = elapsed()
    await catalog.relaxed(({ uploadGuards }) => uploadGuards.set(holder, KEEP_ALL, now() + lastsMs))
    until = askedAt + lastsMs
  }
  let isLost = false
  const demand = () => {
    isLost ||= elapsed() > until
    if (!isLost) return
    throw new LibraryError('unavailable', 'keep what is stored: this process stood still for too long', {
      hint: 'run the same command again; it goes on where it was',
    })
  }
  await set(FIRST_MS)
  let renewal = Promise.resolve()
  const timer = setInterval(() => {
    isLost ||= elapsed() > until
    renewal = renewal.then(() => set(PIN_MS)).catch(() => {})
  }, RENEW_MS).unref()
  return {
    demand,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await renewal
      await catalog.relaxed(({ uploadGuards }) => uploadGuards.remove(holder)).catch(() => {})
    },
  }
}
