import { setTimeout as delay } from 'node:timers/promises'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { JobLog } from './queue.ts'

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
export type Task = (signal: AbortSignal) => Promise<void>

/**
 * Does `work` while this process has the lease of that name, again after it was lost, until the signal aborts or the
 * work ends by itself. Resolves once nothing of it is running and the lease is given back; never rejects.
 * @param work is told to stop by its signal where the lease is lost, and before it may be another's
 */
export async function runAlone(
  name: string,
  work: Task,
  options: AloneOptions,
  signal: AbortSignal,
): Promise<void> {
  const { renewMs = 10_000 } = options
  const lease = new Lease(name, options)
  while (!signal.aborted) {
    if ((await lease.take()) && (await lease.hold(work, signal))) return
    await pause(renewMs, signal)
  }
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

  /** @returns whether the work is done, and need not be done again */
  async hold(work: Task, signal: AbortSignal): Promise<boolean> {
    const { renewMs = 10_000, log } = this.#options
    const ending = new AbortController()
    const end = AbortSignal.any([signal, ending.signal])
    let isDone = false
    const working = work(end)
      .then(
        () => {
          isDone = !ending.signal.aborted
        },
        (error) => {
          if (!end.aborted) log.warn({ err: error, task: this.#name }, 'a task of this process ended')
        },
      )
      .finally(() => ending.abort(new Error(`${this.#name} is done`)))
    while (!end.aborted) {
      await pause(renewMs, end)
      if (!end.aborted && !(await this.take())) ending.abort(new Error(`another process does ${this.#name}`))
    }
    await working
    await this.#release()
    return isDone || signal.aborted
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
