const FIRST_MS = 1000
const LAST_MS = 60_000

/** How long to wait after so many failures in a row: each time twice as long, at most a minute. */
export function retryDelayMs(failures: number): number {
  return Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10))
}
