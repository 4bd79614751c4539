import { setTimeout as delay } from 'node:timers/promises'
import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { JobLog } from './queue.ts'

const RENEW_MS = 10_000
/** Between two looks whether another's lease has ended. */
const LOOK_MS = 250

export interface AloneOptions {
  readonly catalog: Pick<Catalog, 'beside'>
  /** Names this process among all that work on the catalog; never used twice. */
  readonly holder: string
  readonly now: () => number
  readonly log: JobLog
  /** How long a lease outlasts its last renewal, and how often it is renewed or asked for. */
  readonly leaseMs?: number
  readonly renewMs?: number
}

/** Work that must not be done by two processes at once, such as a check of everything that is stored. */
export type Task<T> = (signal: AbortSignal) => Promise<T>

/**
 * Does `work` while this process has the lease of that name, again after it was lost or the work failed, until the
 * signal aborts or the work ends by itself. Resolves once nothing of it is running; never rejects.
 * @param work is told to stop by its signal where the lease is lost, and before it may be another's
 */
export async function runAlone(
  name: string,
  work: Task<void>,
  options: AloneOptions,
  signal: AbortSignal,
): Promise<void> {
  const { renewMs = RENEW_MS, log } = options
  const lease = new Lease(name, options)
  while (!signal.aborted) {
    try {
      if (await lease.take()) return await lease.hold(work, signal)
    } catch (error) {
      if (signal.aborted) return
      log.warn({ err: error, lease: name }, 'what one process does for all has to begin again')
    }
    await pause(renewMs, signal)
  }
}

/**
 * Does `work` once, unless another process is at work of that name.
 * @param options `waitMs`: how long to wait for that one's end, which may have died with its lease
 * @returns what came of it; undefined where another process has the lease
 * @throws what the work throws
 */
export async function tryAlone<T>(
  name: string,
  work: Task<T>,
  options: AloneOptions & { readonly waitMs?: number },
  signal: AbortSignal,
): Promise<{ readonly result: T } | undefined> {
  const { waitMs = 0 } = options
  const lease = new Lease(name, options)
  const since = performance.now()
  while (!(await lease.take())) {
    if (performance.now() - since >= waitMs) return undefined
    await pause(LOOK_MS, signal)
    signal.throwIfAborted()
  }
  return { result: await lease.hold(work, signal) }
}

/** One name's lease, as this process has it. */
class Lease {
  readonly #name: string
  readonly #options: AloneOptions
  readonly #leaseMs: number
  /** By a clock that nobody sets, when the lease was last asked for and had. */
  #takenAt = 0

  constructor(name: string, options: AloneOptions) {
    this.#name = name
    this.#options = options
    this.#leaseMs = options.leaseMs ?? 60_000
  }

  async take(): Promise<boolean> {
    const { catalog, holder, now, log } = this.#options
    const askedAt = performance.now()
    try {
      const wish = { name: this.#name, holder, now: now(), lastsMs: this.#leaseMs }
      const taken = await catalog.beside(({ leases }) => leases.take(wish))
      if (taken) this.#takenAt = askedAt
      return taken
    } catch (error) {
      log.warn({ err: error, lease: this.#name }, 'cannot take or renew a lease')
      // It stands in the catalog as it did.
      return this.#takenAt > 0 && performance.now() - this.#takenAt < this.#leaseMs / 2
    }
  }

  /** @throws what the work throws; unavailable where the lease was lost meanwhile */
  async hold<T>(work: Task<T>, signal: AbortSignal): Promise<T> {
    const { renewMs = RENEW_MS } = this.#options
    const [lost, done] = [new AbortController(), new AbortController()]
    const watching = this.#watch(renewMs, lost, AbortSignal.any([signal, lost.signal, done.signal]))
    try {
      const result = await work(AbortSignal.any([signal, lost.signal]))
      lost.signal.throwIfAborted()
      return result
    } finally {
      done.abort()
      await watching
      await this.#release()
    }
  }

  async #watch(renewMs: number, lost: AbortController, end: AbortSignal): Promise<void> {
    while (!end.aborted) {
      await pause(renewMs, end)
      if (end.aborted || (await this.take())) continue
      lost.abort(new LibraryError('unavailable', `another process does the ${this.#name} by now`))
    }
  }

  async #release(): Promise<void> {
    const { catalog, holder } = this.#options
    this.#takenAt = 0
    // It runs out by itself where this cannot be written.
    await catalog.beside(({ leases }) => leases.release(this.#name, holder)).catch(() => {})
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => {})
}
