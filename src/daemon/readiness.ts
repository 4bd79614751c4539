import type { Logger } from 'pino'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Reserve } from '#data/store/reserve.ts'
import type { Store } from '#data/store/store.ts'
import type { Readiness } from '#edge/http/probes.ts'

/** Where a process is: it serves only in the middle. */
export type Stage = 'starting' | 'serving' | 'stopping'

export interface ReadinessParts {
  readonly catalog: Pick<Catalog, 'settings'>
  readonly store: Pick<Store, 'generation'>
  readonly reserve: Pick<Reserve, 'look'>
  readonly stage: () => Stage
  readonly now: () => number
  /** Told of what is wrong when that changes; the answer says no more than which part does not work. */
  readonly log: Pick<Logger, 'warn'>
  /** For tests: how long one look counts, and how long it waits for an answer; milliseconds. */
  readonly keptMs?: number
  readonly answerMs?: number
}

/** Monitors ask often, and many at once; what they ask about changes slowly. */
const KEPT_MS = 3000
const ANSWER_MS = 2000

/** Says why this process cannot serve: asks the catalog and the store, and looks at the disk. */
export function createReadiness(parts: ReadinessParts): Readiness {
  const { catalog, store, reserve, stage, now, log, keptMs = KEPT_MS, answerMs = ANSWER_MS } = parts
  let last: { readonly at: number; readonly reasons: Promise<readonly string[]> } | undefined
  let known = ''

  async function look(): Promise<readonly string[]> {
    const failures = await Promise.all([
      failureOf('the catalog does not answer', answerMs, () => catalog.settings.get('check')),
      // It is there in every store, unlike any block: a disk that is not mounted shows.
      failureOf('the store does not answer', answerMs, () => store.generation()),
      failureOf('the disk is full', answerMs, async () => {
        const { free, kept } = reserve.look()
        if (free < kept) throw new Error(`${free} bytes are free, and ${kept} are kept`)
      }),
    ])
    const failed = failures.filter((failure) => failure !== undefined)
    const reasons = failed.map(({ reason }) => reason)
    if (reasons.join() !== known)
      for (const { reason, error } of failed) log.warn({ err: error }, `not ready: ${reason}`)
    known = reasons.join()
    return reasons
  }

  return async () => {
    if (stage() !== 'serving') return [`the library is ${stage()}`]
    const isFresh = last && now() - last.at < keptMs && now() >= last.at
    if (!last || !isFresh) last = { at: now(), reasons: look() }
    return await last.reasons
  }
}

interface Failure {
  readonly reason: string
  readonly error: unknown
}

async function failureOf(
  reason: string,
  answerMs: number,
  look: () => Promise<unknown>,
): Promise<Failure | undefined> {
  const late = Promise.withResolvers<Failure>()
  const error = new Error(`no answer within ${answerMs} ms`)
  const timer = setTimeout(() => late.resolve({ reason, error }), answerMs)
  try {
    return await Promise.race([late.promise, look().then(() => undefined)])
  } catch (error) {
    return { reason, error }
  } finally {
    clearTimeout(timer)
  }
}
