import { setTimeout as sleep } from 'node:timers/promises'
import { isPassing } from './retry.ts'
import type { Session } from './session.ts'

const FIRST_POLL_MS = 100
const SLOWEST_POLL_MS = 1000
/** A library that restarts takes its work up again, so a wait outlives it. */
const PATIENCE_MS = 60_000

/** Reads something again and again, ever more slowly, until it is no longer under way. @returns it as it is then */
export async function poll<T>(
  { signal }: Pick<Session, 'signal'>,
  first: T,
  { isUnderWay, read }: { isUnderWay(latest: T): boolean; read(): Promise<T> },
): Promise<T> {
  let latest = first
  let pollMs = FIRST_POLL_MS
  let silentSince: number | undefined
  while (isUnderWay(latest)) {
    await sleep(pollMs, undefined, { signal })
    pollMs = Math.min(SLOWEST_POLL_MS, pollMs * 1.5)
    try {
      latest = await read()
      silentSince = undefined
    } catch (error) {
      silentSince ??= Date.now()
      if (!isPassing(error) || Date.now() - silentSince > PATIENCE_MS) throw error
    }
  }
  return latest
}
