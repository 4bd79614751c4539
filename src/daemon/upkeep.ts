import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { runAlone, tryAlone } from '#control/jobs/alone.ts'
import { type Collected, collect } from '#data/disk/collect.ts'
import { DIGEST_BYTES } from '#data/disk/digest-ranges.ts'
import { collectionEnded, readCollectionState } from './collection-state.ts'
import type { Config } from './config.ts'
import type { CheckObserver } from './metrics/observer.ts'
import type { Parts } from './wire.ts'
import { checkInBackground } from './wire-check.ts'

const EXPIRE_MS = 60_000
const SWEEP_MS = 3600_000
/** A library that has just started has better things to do than to collect. */
const COLLECT_START_MS = 10 * 60_000
/** Between two looks whether it is time for a collection. */
const COLLECT_LOOK_MS = 60_000

interface UpkeepContext {
  readonly log: Logger
  readonly observer: CheckObserver
}

/**
 * Does what has to be done now and then, until it is disposed of. Of all processes on one catalog, one at a time does
 * each of these things.
 */
export function startUpkeep(config: Config, parts: Parts, { log, observer }: UpkeepContext): AsyncDisposable {
  const ending = new AbortController()
  const { signal } = ending
  const options = aloneOptions(parts, log)
  const alone = (name: string, task: (signal: AbortSignal) => Promise<void>) =>
    runAlone(name, task, options, signal)
  const { auth, orbit } = parts
  const running = Promise.all([
    alone('check', (until) => checkInBackground(config, parts, { log, observer }, until)),
    collectInBackground(config, parts, log, signal),
    // Objects whose time has come are not seen any more; this gives back the room that they take.
    alone('expiry', (until) =>
      every(EXPIRE_MS, until, () => orbit.expire(until), {
        onError: (error) => log.warn({ err: error }, 'cannot remove expired objects'),
      }),
    ),
    // Expired tokens are of no use to anybody.
    alone('tokens', (until) =>
      every(SWEEP_MS, until, () => auth.operator.removeExpiredTokens(), {
        onError: (error) => log.warn({ err: error }, 'cannot remove expired tokens'),
      }),
    ),
  ])
  return {
    async [Symbol.asyncDispose]() {
      ending.abort(new Error('the library stops'))
      await running
    },
  }
}

const aloneOptions = ({ catalog, holder }: Parts, log: Logger) => ({ catalog, holder, now: Date.now, log })

/** Does something again and again, first after one wait, until the signal aborts. */
async function every(
  ms: number,
  signal: AbortSignal,
  work: () => Promise<unknown>,
  { onError }: { readonly onError: (error: unknown) => void },
): Promise<void> {
  for (;;) {
    await delay(ms, undefined, { signal, ref: false }).catch(() => {})
    if (signal.aborted) return
    try {
      await work()
    } catch (error) {
      if (!signal.aborted) onError(error)
    }
  }
}

/** Short: one that was killed is not to be waited for. */
const COLLECTION_LEASE = { leaseMs: 15_000, renewMs: 3_000 }

export interface CollectWish {
  /** Bytes for what one pass over the store remembers. */
  readonly memory: number
  readonly dryRun: boolean
  /** How long to wait for the end of another one. */
  readonly waitMs?: number
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Deletes stored blocks that nothing needs, or counts them.
 * @returns undefined where another process is at it: two would walk all manifests for the same blocks, and report
 * wrongly what they removed
 */
export async function collectAlone(
  parts: Parts,
  { dryRun, memory, waitMs = 0, log, signal }: CollectWish,
): Promise<Collected | undefined> {
  const { catalog, library, store } = parts
  const work = async (until: AbortSignal) => {
    // The generation before the roots, as `collect` asks for: what ends in between is covered by its start.
    const { unclaimedSince, manifests } = await library.operator.roots()
    const collected = await collect({
      ...{ store, roots: manifests, unclaimedSince, dryRun },
      digestsPerPass: Math.floor(memory / DIGEST_BYTES),
      signal: until,
    })
    if (!dryRun) await collectionEnded(catalog, { ...collected, finishedAt: Date.now() })
    return collected
  }
  const options = { ...aloneOptions(parts, log), ...COLLECTION_LEASE, waitMs }
  return (await tryAlone('collection', work, options, signal))?.result
}

/** Deletes stored blocks that nothing needs, each time that the settings say; ends at once where they say never. */
async function collectInBackground(
  config: Config,
  parts: Parts,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { everyMs, memory } = config.collect
  if (everyMs === undefined) return
  await delay(Math.min(COLLECT_START_MS, everyMs), undefined, { signal, ref: false }).catch(() => {})
  const collectWhereDue = async () => {
    const last = (await readCollectionState(parts.catalog))?.finishedAt ?? 0
    // A clock that was set back must not put it off for years.
    if (Date.now() - last < everyMs && last <= Date.now()) return
    const collected = await collectAlone(parts, { dryRun: false, memory, log, signal })
    if (!collected) return
    const { blocksRemoved, manifestsRemoved, bytesRemoved } = collected
    log.info({ blocksRemoved, manifestsRemoved, bytesRemoved }, 'deleted what nothing needs')
  }
  await every(Math.min(COLLECT_LOOK_MS, everyMs), signal, collectWhereDue, {
    onError: (error) => log.warn({ err: error }, 'cannot delete what nothing needs'),
  })
}
