import type { Timestamp } from '#model/orbit.ts'

/** The time of a change, which is later than that of what it changes also where the clock was set back since then. */
export const timeAfter = (
  now: () => Timestamp,
  changed: { readonly modifiedAt: Timestamp } | undefined,
): Timestamp => Math.max(now(), (changed?.modifiedAt ?? 0) + 10)

/**
 * Times that strictly rise, so that each change has one of its own, and of two the later change the later one.
 * @param now milliseconds since 1970; where it stands still or goes back, the times go on by their smallest step
 */
export function createClock(now: () => number): () => Timestamp {
  let last = 0
  return () => {
    last = Math.max(Math.floor(now() * 100) * 10, last + 10)
    return last
  }
}
