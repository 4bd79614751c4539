import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Catalog } from '#control/catalog/catalog.ts'
import { createDamageRecords, type DamageRecords } from '#control/library/damage.ts'
import { createRepair, type Repair } from '#control/library/repair.ts'
import { checkSmallObjects } from '#control/orbit/check-small-objects.ts'
import { type Checker, createChecker } from '#data/disk/checker.ts'
import { createIngest } from '#data/disk/ingest-runner.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import { clearQuarantine, type StorePlace } from '#data/store/open-store.ts'
import type { Store } from '#data/store/store.ts'
import { BackgroundCheck } from './background-check.ts'
import { type CheckStates, createCheckStates } from './check-state.ts'
import type { Config } from './config.ts'
import type { CheckObserver } from './metrics/observer.ts'
import { nameRoots } from './name-roots.ts'

export interface CheckStore {
  readonly catalog: Catalog
  readonly storePlace: StorePlace
}

export interface CheckParts {
  readonly checker: Checker
  readonly records: DamageRecords
  readonly states: CheckStates
  readonly repair: Repair
}

/** What looks for damage and mends it, for the daemon and for the operator's commands. */
export function wireCheck(
  config: Config,
  { catalog, storePlace }: CheckStore,
  onStoreTimes?: (times: StoreTimes) => void,
): CheckParts {
  return {
    checker: createChecker({ storePlace, onStoreTimes }),
    records: createDamageRecords({ catalog, now: Date.now }),
    states: createCheckStates(catalog),
    repair: createRepair({
      catalog,
      // One thread, and beside the registrations, whose places it does not take.
      ingest: createIngest({
        storePlace,
        spoolDirectory: join(config.data, 'spool'),
        reserve: config.reserve,
        threads: 1,
      }),
      limits: config.limits,
      allowSource: config.allowSource,
      async copyOf(manifest) {
        const path = join(config.data, 'servers', 'bases', manifest)
        return access(path).then(
          () => path,
          () => undefined,
        )
      },
    }),
  }
}

/** Checks in the background until the signal aborts; ends at once where the settings say that nothing is checked. */
export async function checkInBackground(
  config: Config,
  { catalog, store, storePlace }: CheckStore & { readonly store: Store },
  { log, observer }: { readonly log: Logger; readonly observer: CheckObserver },
  signal: AbortSignal,
): Promise<void> {
  const { ageMs, rate, quarantineMs } = config.check
  if (ageMs === undefined) return
  const check = new BackgroundCheck({
    ...wireCheck(config, { catalog, storePlace }, observer.onStoreTimes),
    observer,
    store,
    roots: () => nameRoots(catalog),
    smallObjects: (pace) => checkSmallObjects(catalog, pace),
    async clearQuarantine() {
      if (quarantineMs === undefined) return
      const { files, bytes } = await clearQuarantine(storePlace, Date.now() - quarantineMs)
      if (files > 0) log.info({ files, bytes }, 'removed from the quarantine what had been there for long')
    },
    ageMs,
    rate,
    now: Date.now,
    log,
  })
  await check.run(signal)
}
