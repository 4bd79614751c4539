import type { Catalog } from '#control/catalog/catalog.ts'
import type { DamagedObject } from '#control/orbit/check-small-objects.ts'
import type { CheckPlace } from '#data/disk/check-round.ts'

/** How far the background check is; times in milliseconds since 1970. */
export interface CheckState {
  readonly startedAt: number
  /** Null while the round goes on. */
  readonly finishedAt: number | null
  readonly place: CheckPlace
  /** When the round before ended; null where there was none. */
  readonly lastFinishedAt: number | null
  /** Why the round did not go on at the last attempt, and when that was. */
  readonly stopped?: { readonly at: number; readonly why: string }
  /** Objects in the catalog that the last round to end found damaged, a hundred at most. */
  readonly objects?: readonly DamagedObject[]
}

/** Keeps it in the catalog, so that a restart goes on where the last process was. */
export interface CheckStates {
  /** Undefined where nothing was ever checked. */
  read(): Promise<CheckState | undefined>
  write(state: CheckState): Promise<void>
}

const NAME = 'check'

export const createCheckStates = (catalog: Pick<Catalog, 'settings' | 'relaxed'>): CheckStates => ({
  async read() {
    const text = await catalog.settings.get(NAME)
    return text === undefined ? undefined : (JSON.parse(text) as CheckState)
  },
  write: (state) => catalog.relaxed(({ settings }) => settings.set(NAME, JSON.stringify(state))),
})
