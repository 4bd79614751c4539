import { setTimeout } from 'node:timers/promises'
import type { Catalog } from '#control/catalog/catalog.ts'

/** How long it counts unless renewed, that a process writes, and that it reads. */
export const GUARD_MS = 12 * 3_600_000
export const PIN_MS = 60_000
/** Between two renewals, of either. */
export const RENEW_MS = 20_000
/** In which a process that lives has renewed what it holds, also where the catalog did not answer once. */
const PROOF_MS = 2 * RENEW_MS + 5000

export interface OverdueDeps {
  readonly catalog: Pick<Catalog, 'pins' | 'uploadGuards' | 'relaxed'>
  readonly now: () => number
  /** For tests. */
  readonly wait?: (ms: number) => Promise<unknown>
}

/**
 * Removes what dead processes hold. A clock that was set makes what is held look overdue too, so whoever holds it gets
 * the time to renew it.
 */
export async function removeOverdue({ catalog, now, wait = setTimeout }: OverdueDeps): Promise<void> {
  const at = now()
  const pins = await catalog.pins.listOverdue(at, PIN_MS)
  const guards = await catalog.uploadGuards.listOverdue(at, GUARD_MS)
  if (pins.length + guards.length === 0) return
  await wait(PROOF_MS)
  await catalog.relaxed(async (tables) => {
    for (const pin of pins) await tables.pins.removeUnchanged(pin)
    for (const guard of guards) await tables.uploadGuards.removeUnchanged(guard)
  })
}
