import { setTimeout } from 'node:timers/promises'

const FIRST_MS = 100
const LONGEST_MS = 5_000

/** Waits before another attempt, for any time up to one that doubles: who failed together does not meet again. */
export async function backOff(attempt: number, random: () => number, signal?: AbortSignal): Promise<void> {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt)
  await setTimeout(random() * most, undefined, { signal })
}
