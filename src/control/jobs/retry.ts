import { LibraryError } from '#base/errors.ts'
import { Refusal, SourceFailure } from '#base/refusal.ts'
import type { Random } from '#model/ids.ts'

const FIRST_DELAY_MS = 2000
/** Deaths of its process that a job may see before it is suspected. */
const LOST_UNSUSPECTED = 10
const DELAY_MAX_MS = 5 * 60_000
/** The longest that we let the other side put us off. */
const ASKED_DELAY_MAX_MS = 3600_000

/** Says whether the same attempt may end otherwise later. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof SourceFailure) return error.retryable
  if (error instanceof Refusal) return false
  return error instanceof LibraryError && error.code === 'unavailable'
}

/**
 * How long to wait before the next attempt: twice as long each time, between half of that and all of it so that many
 * that failed together do not come back together, and not before the other side asked for (`retryAfterMs`).
 * @param failures how many attempts failed, 1 or more
 * @returns milliseconds
 */
export function retryDelayMs(failures: number, error: unknown, random: Random): number {
  const full = Math.min(FIRST_DELAY_MS * 2 ** (failures - 1), DELAY_MAX_MS)
  const [high = 0, low = 0] = random(2)
  const delay = full / 2 + (full / 2) * ((high * 256 + low) / 65_536)
  return Math.round(Math.max(delay, Math.min(askedDelayMs(error), ASKED_DELAY_MAX_MS)))
}

/**
 * How long a job waits that was under way when its process died, again and again: it may be what ends it, and all else
 * must get done in between.
 * @returns milliseconds, 0 for the first ten times
 */
export function lostDelayMs(lost: number): number {
  return lost > LOST_UNSUSPECTED
    ? Math.min(FIRST_DELAY_MS * 2 ** (lost - LOST_UNSUSPECTED - 1), DELAY_MAX_MS)
    : 0
}

function askedDelayMs(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('retryAfterMs' in error)) return 0
  const asked = error.retryAfterMs
  return typeof asked === 'number' && asked > 0 ? asked : 0
}
