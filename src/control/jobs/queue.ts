import { withLogFields } from '#base/log-context.ts'
import { Refusal } from '#base/refusal.ts'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import { isId, type Random } from '#model/ids.ts'
import { isRetryable, lostDelayMs, retryDelayMs } from './retry.ts'

/** One attempt at a job. */
export interface JobRun {
  readonly job: Job
  /** Aborts when the job is cancelled, the lease lost or the process about to stop. */
  readonly signal: AbortSignal
  /**
   * Ends the job and publishes its result in one transaction. Every attempt that succeeds calls it once.
   * @throws LeaseLost where another worker holds the job by now, or nobody should; then nothing is changed
   */
  finish<T>(change: (tables: Tables) => Promise<T>): Promise<T>
}

/** What to do with the jobs of one kind; each function may run again for the same job after a crash. */
export interface JobHandler {
  run(run: JobRun): Promise<void>
  /** Told in the transaction that puts the job off; `job.failures` counts this failure already. */
  retrying(tables: Tables, job: Job, error: unknown, runAt: number): Promise<void>
  /** Told in the transaction that ends the job. */
  failed(tables: Tables, job: Job, error: unknown): Promise<void>
  /** Told after the transaction of `retrying` (not ended) or `failed` (ended). */
  settled(job: Job, ended: boolean, error: unknown): Promise<void>
}

export interface JobLimits {
  /**
   * How many of this kind run at once in this process, and of one account everywhere. Of the places in this process
   * the last free one goes only to an account that runs none.
   */
  readonly concurrency: number
  readonly perAccount: number
}

export interface JobLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/**
 * `lost`: its lease; `given back`: the process stops, and another one may take the job at once; `unsettled`: nobody
 * could write down how it ended, so its lease runs out.
 */
export type AttemptOutcome = 'done' | 'retried' | 'failed' | 'cancelled' | 'lost' | 'given back' | 'unsettled'

export interface EndedAttempt {
  readonly kind: string
  readonly outcome: AttemptOutcome
  readonly ms: number
}

/** Durable work: rows with a lease (docs/decisions/0016-job-leases.md). */
export interface JobQueue extends AsyncDisposable {
  /** Says who works on a kind of job; once for each, before `start`. */
  handle(kind: string, handler: JobHandler, limits: JobLimits): void
  /** Begins to look for work: now, when there is more of it, and every second. */
  start(): void
  /** Looks for work now; resolves once all that may run is running. */
  poll(): Promise<void>
  /** Follows a clock that was set back, renews the leases of what is running here, stops what lost its lease. */
  heartbeat(): Promise<void>
  /** Aborts the attempt at a job that was taken off the catalog, if it is running here. */
  cancel(kind: string, subject: string): void
  /** Resolves when nothing is running here. */
  settled(): Promise<void>
  /**
   * Frees the jobs of all processes, so that they are taken up at once; those that were under way at many deaths, later
   * each time. Only for a process that has the data folder to itself: whoever held them is dead.
   */
  releaseAllLeases(): Promise<void>
}

export interface JobQueueOptions {
  readonly catalog: Catalog
  /** Names this process among all that work on the catalog; never used twice. */
  readonly owner: string
  readonly now: () => number
  /** Milliseconds of a clock that nobody sets, from any moment on; by default `now`. */
  readonly elapsed?: () => number
  /** The store's: jobs say in which one they began to put and claim. */
  readonly generations: { generation(): Promise<number> }
  readonly random: Random
  readonly log: JobLog
  /** Told of each attempt once it has ended, for whoever counts. */
  readonly onAttempt?: ((attempt: EndedAttempt) => void) | undefined
  readonly leaseMs?: number
  readonly heartbeatMs?: number
  readonly pollMs?: number
  /** Failed attempts after which a job is given up. */
  readonly attemptsMax?: number
}

/** Attempts that ended with neither result nor error, as a process that dies does; more are taken for its doing. */
const LOST_MAX = 20

/** Clocks that are steered get ahead by less between two looks. */
const LEAP_MS = 1000

/** The job was under way at too many deaths of its process to be tried again. */
export class EndsItsProcess extends Error {
  readonly tries = LOST_MAX

  constructor() {
    super(`the job ended its process ${LOST_MAX} times`)
    this.name = 'EndsItsProcess'
  }
}

/** The job is no longer this attempt's: it must publish nothing. */
export class LeaseLost extends Error {
  constructor() {
    super('another worker holds the job, or it was cancelled')
    this.name = 'LeaseLost'
  }
}

class Cancelled extends LeaseLost {}

class Stopping extends Error {
  constructor() {
    super('the process is about to stop')
    this.name = 'Stopping'
  }
}

interface Running {
  readonly job: Job
  readonly abort: AbortController
  readonly done: Promise<void>
}

interface Kind {
  readonly handler: JobHandler
  readonly limits: JobLimits
}

export function createJobQueue(options: JobQueueOptions): JobQueue {
  const { catalog, owner, now, elapsed = now, generations, random, log, onAttempt } = options
  const { leaseMs = 30_000, heartbeatMs = 10_000, pollMs = 1000, attemptsMax = 5 } = options
  const kinds = new Map<string, Kind>()
  const running = new Map<string, Running>()
  const timers: NodeJS.Timeout[] = []
  let subscription: Disposable | undefined
  let polling: Promise<void> | undefined
  let pollAgain = false
  let stopped = false
  let renewedAt = now()
  /** What the clock is ahead of the one that nobody sets. */
  let ahead = now() - elapsed()

  const countRunning = (kind: string) => [...running.values()].filter(({ job }) => job.kind === kind).length

  async function fill(kind: string, { limits, handler }: Kind): Promise<void> {
    for (;;) {
      const free = limits.concurrency - countRunning(kind)
      if (stopped || free <= 0) return
      // The last place is kept for an account that runs none, or one with slow sources could hold up all others.
      const perAccount = free > 1 ? limits.perAccount : 1
      // Where nothing is to be done, the store is not asked, nor does a look hold up others' claims.
      if (!(await catalog.jobs.isDue(kind, now()))) return
      // Before the claim, which is what a collection sees.
      const generation = await generations.generation()
      const claim = { kind, owner, now: now(), generation, leaseMs, perAccount }
      const job = await catalog.beside((tables) => tables.jobs.claim(claim))
      if (!job) return
      const abort = new AbortController()
      if (stopped) abort.abort(new Stopping())
      // Of whatever request it was that woke us, nothing stands on the lines of the job.
      const done = withLogFields(named(job), () => attempt(job, handler, abort.signal)).finally(() => {
        running.delete(keyOf(job))
        void poll()
      })
      running.set(keyOf(job), { job, abort, done })
    }
  }

  /** What was put off must not be due early, least of all the end of an upload that goes on. */
  async function followLeap(): Promise<void> {
    const leap = now() - elapsed() - ahead
    if (leap >= LEAP_MS) await catalog.relaxed((tables) => tables.jobs.followLeap(now(), leap))
    ahead += leap
  }

  /** One look at a time; a call during one makes it look once more, as its work may have come too late for it. */
  function poll(): Promise<void> {
    pollAgain = true
    polling ??= (async () => {
      try {
        while (pollAgain && !stopped) {
          pollAgain = false
          await followLeap()
          for (const [name, kind] of kinds) await fill(name, kind)
        }
      } catch (error) {
        log.error({ err: error }, 'cannot look for work')
      } finally {
        polling = undefined
      }
    })()
    return polling
  }

  async function attempt(job: Job, handler: JobHandler, signal: AbortSignal): Promise<void> {
    let finished = false
    let outcome: AttemptOutcome = 'done'
    const startedAt = elapsed()
    const finish = async <T>(change: (tables: Tables) => Promise<T>): Promise<T> => {
      const result = await catalog.transaction(async (tables) => {
        if (!(await tables.jobs.finish(owner, job))) throw new LeaseLost()
        return change(tables)
      })
      finished = true
      return result
    }
    try {
      if (job.attempt - job.failures > LOST_MAX) throw new EndsItsProcess()
      await handler.run({ job, signal, finish })
      if (!finished) throw new Error(`internal error: the handler of ${job.kind} left its job unfinished`)
    } catch (error) {
      if (finished) log.error({ err: error, ...named(job) }, 'after the end of a job')
      else
        outcome = await settle(job, handler, error, signal).catch((cause) => {
          // Its lease runs out by itself, and then it is tried again.
          log.error({ err: cause, ...named(job) }, 'cannot write down how a job ended')
          return 'unsettled' as const
        })
    } finally {
      onAttempt?.({ kind: job.kind, outcome, ms: elapsed() - startedAt })
    }
  }

  async function settle(
    job: Job,
    handler: JobHandler,
    error: unknown,
    signal: AbortSignal,
  ): Promise<AttemptOutcome> {
    if (signal.reason instanceof Cancelled) return 'cancelled'
    if (error instanceof LeaseLost || signal.reason instanceof LeaseLost) return 'lost'
    if (signal.reason instanceof Stopping) {
      const at = now()
      // Not taken for a death of ours, however often the library is started anew while a slow source is read.
      await catalog.relaxed((tables) => tables.jobs.giveBack(owner, job, { now: at, runAt: at }))
      return 'given back'
    }
    const failed: Job = { ...job, failures: job.failures + 1 }
    // What is wrong with an image is its owner's business; a stack would only say where we looked.
    if (error instanceof Refusal) {
      const { category, message } = error
      log.info({ category, reason: message, ...named(failed) }, 'refused')
    } else log.warn({ err: error, ...named(failed) }, 'an attempt failed')
    const again = isRetryable(error) && failed.failures < attemptsMax
    const held = await catalog.transaction(async (tables) => {
      if (again) {
        const at = now()
        const runAt = at + retryDelayMs(failed.failures, error, random)
        const change = { now: at, runAt, failures: failed.failures, lastError: messageOf(error) }
        if (!(await tables.jobs.retry(owner, job, change))) return false
        await handler.retrying(tables, failed, error, runAt)
      } else {
        if (!(await tables.jobs.finish(owner, job))) return false
        await handler.failed(tables, failed, error)
      }
      return true
    })
    if (!held) return 'lost'
    await handler.settled(failed, !again, error)
    return again ? 'retried' : 'failed'
  }

  async function heartbeat(): Promise<void> {
    const held = [...running.values()]
    const at = now()
    try {
      const renewed = new Set<Job>()
      for (const { job } of held) {
        const [kept] = await catalog.beside(({ jobs }) => jobs.renew(owner, [job], at + leaseMs))
        if (kept) renewed.add(kept)
      }
      renewedAt = at
      for (const { job, abort } of held) if (!renewed.has(job)) abort.abort(new LeaseLost())
      await catalog.relaxed(({ jobs }) => jobs.followClock(at, leaseMs))
    } catch (error) {
      log.error({ err: error }, 'cannot renew leases')
      // Others may take the jobs from now on. The transactions are fenced anyhow; this only saves wasted work.
      if (now() - renewedAt >= leaseMs) for (const { abort } of held) abort.abort(new LeaseLost())
    }
  }

  /** Others may have removed or taken what is running here; nobody waits for a heartbeat to hear of it. */
  async function look(): Promise<void> {
    const held = [...running.values()]
    if (held.length === 0) return
    const found = await catalog.jobs.listOwners(held.map(({ job }) => job.id))
    for (const { job, abort } of held) {
      const holding = found.find(({ id }) => id === job.id)
      if (!holding) abort.abort(new Cancelled())
      else if (holding.owner !== owner || holding.attempt !== job.attempt) abort.abort(new LeaseLost())
    }
  }

  function changed(): void {
    void poll()
    // A heartbeat looks again.
    look().catch((error: unknown) => log.warn({ err: error }, 'cannot look after what is running'))
  }

  async function settled(): Promise<void> {
    while (running.size > 0) await Promise.all([...running.values()].map(({ done }) => done))
  }

  return {
    handle(kind, handler, limits) {
      if (kinds.has(kind)) throw new Error(`internal error: two handlers for ${kind}`)
      kinds.set(kind, { handler, limits })
    },
    start() {
      subscription ??= catalog.onChange('jobs', changed)
      timers.push(setInterval(() => void poll(), pollMs).unref())
      timers.push(setInterval(() => void heartbeat(), heartbeatMs).unref())
      void heartbeat().then(poll)
    },
    poll,
    heartbeat,
    cancel(kind, subject) {
      for (const { job, abort } of running.values()) {
        if (job.kind === kind && job.subject === subject) abort.abort(new Cancelled())
      }
    },
    settled,
    releaseAllLeases: () =>
      catalog.transaction(async ({ jobs }) => {
        const at = now()
        for (const job of await jobs.releaseAll()) {
          const runAt = at + lostDelayMs(job.attempt - job.failures)
          if (runAt > at) await jobs.putOff(job.id, { now: at, runAt })
        }
      }),
    async [Symbol.asyncDispose]() {
      stopped = true
      subscription?.[Symbol.dispose]()
      for (const timer of timers) clearInterval(timer)
      await polling
      for (const { abort } of running.values()) abort.abort(new Stopping())
      await settled()
    },
  }
}

/** After a long standstill, a process may claim a job whose older attempt is still running in it. */
const keyOf = ({ id, attempt }: Job) => `${id} ${attempt}`

/** A payload may hold secrets, so it stays out of the log. */
function named({ id, kind, subject, attempt, failures }: Job) {
  return { job: id, kind, [isId('img', subject) ? 'image' : 'subject']: subject, attempt, failures }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
