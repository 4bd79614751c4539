/** Of so many reads the times are remembered. */
const REMEMBERED = 256
/** Before so many, nobody knows what is usual. */
const ENOUGH = 64
/** Reads between two looks at what is usual. */
const RENEW = 32
const QUANTILE = 0.95
/** Less than this is no straggler. */
const LEAST_MS = 20
/** Second requests, as a share of all reads. */
const SHARE = 0.03
/** Of that share so many may be saved up. */
const SAVED_MAX = 4

/** Says when a read takes so unusually long that asking once more is worth it, which must stay rare. */
export class ReadLatency {
  readonly #times: number[] = []
  #count = 0
  #usualMs: number | undefined
  #saved = 0

  /** @param ms what one read took */
  add(ms: number): void {
    this.#times[this.#count++ % REMEMBERED] = ms
    this.#saved = Math.min(SAVED_MAX, this.#saved + SHARE)
    if (this.#count < ENOUGH || this.#count % RENEW !== 0) return
    const sorted = this.#times.toSorted((a, b) => a - b)
    this.#usualMs = sorted[Math.floor(sorted.length * QUANTILE)]
  }

  /** Milliseconds after which a read is a straggler; undefined where that is not known. */
  get stragglerMs(): number | undefined {
    return this.#usualMs === undefined ? undefined : Math.max(LEAST_MS, this.#usualMs)
  }

  /** Whether one more request is within the share; it is counted. */
  mayHedge(): boolean {
    if (this.#saved < 1) return false
    this.#saved--
    return true
  }
}

/**
 * Runs a read, and runs it a second time beside where it is a straggler; the first that succeeds counts, and the other
 * is aborted.
 */
export async function hedged<T>(latency: ReadLatency, read: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const startedAt = performance.now()
  const ending = new AbortController()
  const tries = [read(ending.signal)]
  let timer: NodeJS.Timeout | undefined
  const { stragglerMs } = latency
  try {
    if (stragglerMs === undefined) return await Promise.race(tries)
    const waited = new Promise<'straggler'>((resolve) => {
      timer = setTimeout(() => resolve('straggler'), stragglerMs)
    })
    const first = await Promise.race([...tries, waited])
    if (first !== 'straggler') return first
    if (latency.mayHedge()) tries.push(read(ending.signal))
    return await firstGood(tries)
  } finally {
    clearTimeout(timer)
    ending.abort()
    latency.add(performance.now() - startedAt)
  }
}

async function firstGood<T>(tries: readonly Promise<T>[]): Promise<T> {
  try {
    return await Promise.any(tries)
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error
  }
}
