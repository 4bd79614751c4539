/** Watches how fast bytes come, but only while somebody waits for them: a slow consumer is not the server's fault. */
export interface Pace {
  /**
   * Begins to watch one connection.
   * @param onSlow called once when a whole window has passed below the rate
   * @returns ends the watch
   */
  watch(onSlow: () => void): () => void
  /** The consumer begins to wait. */
  waiting(): void
  arrived(bytes: number): void
}

export interface PaceLimits {
  /** Bytes per second. */
  readonly slowRate: number
  readonly slowWindowMs: number
}

/** One for all connections of an import, so that a server cannot begin a new window by dropping the old one. */
export function createPace({ slowRate, slowWindowMs }: PaceLimits): Pace {
  let waitingSince: number | undefined
  let windowBytes = 0
  let windowWaited = 0

  const endWait = () => {
    if (waitingSince === undefined) return
    windowWaited += performance.now() - waitingSince
    waitingSince = undefined
  }
  const isSlow = (): boolean => {
    const waited = waitingSince === undefined ? 0 : performance.now() - waitingSince
    if (windowWaited + waited < slowWindowMs) return false
    const isBelowRate = windowBytes * 1000 < slowRate * (windowWaited + waited)
    windowBytes = 0
    // The present wait goes on and counts as a whole; the next window must not count it again.
    windowWaited = -waited
    return isBelowRate
  }

  return {
    watch(onSlow) {
      // One timer that looks, rather than one armed and disarmed for each of thousands of reads a second.
      const timer = setInterval(
        () => {
          if (!isSlow()) return
          clearInterval(timer)
          onSlow()
        },
        Math.max(10, Math.min(slowWindowMs, 4000) / 8),
      )
      return () => {
        clearInterval(timer)
        endWait()
      }
    },
    waiting() {
      waitingSince ??= performance.now()
    },
    arrived(bytes) {
      windowBytes += bytes
      endWait()
    },
  }
}
