/** Watches how fast bytes come, but only while somebody waits for them: a slow consumer is not the server's fault. */
export interface Pace {
  /**
   * Begins to watch one connection.
   * @param onStall called once when the limits are broken
   * @returns ends the watch
   */
  watch(onStall: (stall: Stall) => void): () => void
  /** The consumer begins to wait. */
  waiting(): void
  arrived(bytes: number): void
}

/** `silent`: no byte for `ms`; `slow`: below the rate over a whole window. */
export type Stall = 'silent' | 'slow'

export interface PaceLimits {
  readonly silenceMs: number
  /** Bytes per second. */
  readonly slowRate: number
  readonly slowWindowMs: number
}

/** One for all connections of an import, so that a server cannot begin a new window by dropping the old one. */
export function createPace({ silenceMs, slowRate, slowWindowMs }: PaceLimits): Pace {
  let waitingSince: number | undefined
  let windowBytes = 0
  let windowWaited = 0

  const endWait = () => {
    if (waitingSince === undefined) return
    windowWaited += performance.now() - waitingSince
    waitingSince = undefined
  }
  const findStall = (): Stall | undefined => {
    const waited = waitingSince === undefined ? 0 : performance.now() - waitingSince
    if (waited >= silenceMs) return 'silent'
    if (windowWaited + waited < slowWindowMs) return undefined
    const isSlow = windowBytes * 1000 < slowRate * (windowWaited + waited)
    windowBytes = 0
    // The present wait goes on and counts as a whole; the next window must not count it again.
    windowWaited = -waited
    return isSlow ? 'slow' : undefined
  }

  return {
    watch(onStall) {
      // One timer that looks, rather than one armed and disarmed for each of thousands of reads a second.
      const timer = setInterval(
        () => {
          const stall = findStall()
          if (!stall) return
          clearInterval(timer)
          onStall(stall)
        },
        Math.max(10, Math.min(silenceMs, slowWindowMs, 4000) / 8),
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
