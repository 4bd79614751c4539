import { type RawBuilder, sql } from 'kysely'
import { insertWithNewId, type TableContext } from './context.ts'
import type { JobRow } from './schema.ts'

/** Durable work; times in milliseconds since 1970. */
export interface Job {
  readonly id: string
  readonly kind: string
  /** The id of what it works on; there is one job of a kind for each. */
  readonly subject: string
  readonly accountId: string
  /** What the handler needs to know, as JSON. */
  readonly payload: unknown
  /** Not before this time. */
  readonly runAt: number
  /** Rises with each claim: whoever holds an older number has lost the job. */
  readonly attempt: number
  /** Attempts that ended in an error worth another try. */
  readonly failures: number
}

export interface NewJob {
  readonly kind: string
  readonly subject: string
  readonly accountId: string
  readonly payload: unknown
  readonly runAt: number
  readonly createdAt: number
}

export interface PutOff {
  readonly now: number
  readonly runAt: number
}

export interface Claim {
  readonly kind: string
  readonly owner: string
  readonly now: number
  /** Of the store: all that the attempt puts or claims has it, or a later one. */
  readonly generation: number
  readonly leaseMs: number
  /** How many jobs of this kind one account may have running at once. */
  readonly perAccount: number
}

export interface Backlog {
  readonly kind: string
  /** Due, and held by nobody. */
  readonly waiting: number
  readonly running: number
  /** Since when the oldest that waits has been due; null where none waits. */
  readonly waitingSince: number | null
}

export interface JobOwner {
  readonly id: string
  readonly attempt: number
  /** Null where nobody holds it. */
  readonly owner: string | null
}

export interface Jobs {
  insert(job: NewJob): Promise<void>
  find(kind: string, subject: string): Promise<Job | undefined>
  /** Those that are not done yet. */
  listOfAccount(kind: string, accountId: string): Promise<Job[]>
  /** A page of those of some kinds that are not done yet, by their ids. */
  list(kinds: readonly string[], after: string, limit: number): Promise<Job[]>
  /** Whether there is a job that may run, as far as its account lets it. */
  isDue(kind: string, now: number): Promise<boolean>
  /**
   * Takes the next job that may run: of the account with the fewest running, the one that waits longest. It goes with
   * `beside`: one at a time of a kind, whoever looks.
   */
  claim(claim: Claim): Promise<Job | undefined>
  /** @returns those whose lease is still the owner's, now until `leaseUntil` */
  renew<T extends Pick<Job, 'id' | 'attempt'>>(
    owner: string,
    held: readonly T[],
    leaseUntil: number,
  ): Promise<Set<T>>
  /** @returns whose these jobs are, as far as they are still there */
  listOwners(ids: readonly string[]): Promise<JobOwner[]>
  /** Removes a job if this attempt still holds it; only then may its work be published. */
  finish(owner: string, held: Pick<Job, 'id' | 'attempt'>): Promise<boolean>
  /** Gives a job back for another try if this attempt still holds it. */
  retry(
    owner: string,
    held: Pick<Job, 'id' | 'attempt'>,
    change: PutOff & { readonly failures: number; readonly lastError: string | null },
  ): Promise<boolean>
  /** Gives a job back whose attempt was ended before its time, and does not count; that it once began, stays known. */
  giveBack(owner: string, held: Pick<Job, 'id' | 'attempt'>, change: PutOff): Promise<void>
  /** @returns whether there was such a job that nobody was working on */
  reschedule(kind: string, subject: string, change: PutOff & { readonly payload: unknown }): Promise<boolean>
  /**
   * Where the clock was set back: what was put off before that waits as long as it was to from now on, and no lease
   * goes on for longer than twice `leaseMs`.
   */
  followClock(now: number, leaseMs: number): Promise<void>
  /** Where the clock was set forward `byMs` just now: what was not due then waits as long as it was to. */
  followLeap(now: number, byMs: number): Promise<void>
  remove(kind: string, subject: string): Promise<void>
  /** How much there is to do of each kind that there are jobs of. */
  backlog(now: number): Promise<Backlog[]>
  /** Ends all leases, whoever holds them. @returns the jobs that were held */
  releaseAll(): Promise<Job[]>
  /** Lets a job that nobody works on wait. */
  putOff(id: string, change: PutOff): Promise<void>
  /** Of all unfinished jobs of a kind, the first generation of the store in which a present or last attempt began. */
  firstGeneration(kind: string): Promise<number | undefined>
}

export function jobsTable({ db, dialect, random, touch }: TableContext): Jobs {
  return {
    async insert(job) {
      await insertWithNewId('job', random, async (id) => {
        const query = db
          .insertInto('jobs')
          .values({
            id,
            kind: job.kind,
            subject: job.subject,
            account_id: job.accountId,
            payload: JSON.stringify(job.payload),
            created_at: job.createdAt,
            run_at: job.runAt,
            attempt: 0,
            failures: 0,
            generation: null,
            lease_owner: null,
            lease_until: null,
            last_error: null,
          })
          .onConflict((conflict) => conflict.column('id').doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      touch('jobs')
    },
    async find(kind, subject) {
      const query = db.selectFrom('jobs').selectAll().where('kind', '=', kind).where('subject', '=', subject)
      const row = await query.executeTakeFirst()
      return row && toJob(row)
    },
    async listOfAccount(kind, accountId) {
      const query = db.selectFrom('jobs').selectAll().where('kind', '=', kind)
      return (await query.where('account_id', '=', accountId).execute()).map(toJob)
    },
    async list(kinds, after, limit) {
      const query = db.selectFrom('jobs').selectAll().where('kind', 'in', kinds).where('id', '>', after)
      return (await query.orderBy('id').limit(limit).execute()).map(toJob)
    },
    async isDue(kind, now) {
      const due = db
        .selectFrom('jobs')
        .select('id')
        .where('kind', '=', kind)
        .where('run_at', '<=', now)
        .where((eb) => eb.or([eb('lease_until', 'is', null), eb('lease_until', '<=', now)]))
      return (await due.limit(1).executeTakeFirst()) !== undefined
    },
    async claim({ kind, owner, now, generation, leaseMs, perAccount }) {
      const queue = { kind, now, perAccount }
      for (const isAlone of [false, true]) {
        const { rows } = await firstInLine(queue).execute(db)
        if (rows.length === 0) return undefined
        // The walk is most of the work, and needs no lock: behind it, what came first is looked at again.
        if (!isAlone) await dialect.claiming?.(kind).execute(db)
        const job = await take(queue, rows)
        if (job) return job
        // Others have taken all of these; there may be more behind them.
      }
      return undefined

      async function take(of: Queue, candidates: readonly { id: string }[]): Promise<Job | undefined> {
        const row = await db
          .updateTable('jobs')
          .set((eb) => ({
            attempt: eb('attempt', '+', 1),
            generation,
            lease_owner: owner,
            lease_until: now + leaseMs,
          }))
          .where('id', '=', firstFree(of, candidates, dialect.lockFree))
          .returningAll()
          .executeTakeFirst()
        return row && toJob(row)
      }
    },
    async renew(owner, held, leaseUntil) {
      const renewed = new Set<(typeof held)[number]>()
      for (const job of held) {
        const query = db
          .updateTable('jobs')
          .set({ lease_until: leaseUntil })
          .where('id', '=', job.id)
          .where('lease_owner', '=', owner)
          .where('attempt', '=', job.attempt)
        if (await query.returning('id').executeTakeFirst()) renewed.add(job)
      }
      return renewed
    },
    async listOwners(ids) {
      const query = db.selectFrom('jobs').select(['id', 'attempt', 'lease_owner as owner'])
      return await query.where('id', 'in', ids).execute()
    },
    async finish(owner, { id, attempt }) {
      const query = db
        .deleteFrom('jobs')
        .where('id', '=', id)
        .where('lease_owner', '=', owner)
        .where('attempt', '=', attempt)
      return (await query.returning('id').executeTakeFirst()) !== undefined
    },
    async retry(owner, { id, attempt }, { now, runAt, failures, lastError }) {
      const free = { lease_owner: null, lease_until: null }
      const query = db
        .updateTable('jobs')
        .set({ created_at: now, run_at: runAt, failures, last_error: lastError, ...free })
        .where('id', '=', id)
        .where('lease_owner', '=', owner)
        .where('attempt', '=', attempt)
      return (await query.returning('id').executeTakeFirst()) !== undefined
    },
    async giveBack(owner, { id, attempt }, { now, runAt }) {
      const free = { lease_owner: null, lease_until: null }
      await db
        .updateTable('jobs')
        .set({ created_at: now, run_at: runAt, attempt: Math.max(attempt - 1, 1), ...free })
        .where('id', '=', id)
        .where('lease_owner', '=', owner)
        .where('attempt', '=', attempt)
        .execute()
    },
    async reschedule(kind, subject, { now, runAt, payload }) {
      const query = db
        .updateTable('jobs')
        .set({ created_at: now, run_at: runAt, payload: JSON.stringify(payload) })
        .where('kind', '=', kind)
        .where('subject', '=', subject)
        .where('lease_owner', 'is', null)
      touch('jobs')
      return (await query.returning('id').executeTakeFirst()) !== undefined
    },
    async followClock(now, leaseMs) {
      await db
        .updateTable('jobs')
        .set((eb) => ({ run_at: eb('run_at', '-', eb.parens('created_at', '-', now)), created_at: now }))
        .where('created_at', '>', now)
        .execute()
      await db
        .updateTable('jobs')
        .set({ lease_until: now + leaseMs })
        // Clocks of several machines differ: only what none of them can have given is cut.
        .where('lease_until', '>', now + 2 * leaseMs)
        .execute()
    },
    async followLeap(now, byMs) {
      await db
        .updateTable('jobs')
        .set((eb) => ({ run_at: eb('run_at', '+', byMs), created_at: eb('created_at', '+', byMs) }))
        .where('run_at', '>', now - byMs)
        .where('created_at', '<=', now - byMs)
        .execute()
    },
    async remove(kind, subject) {
      await db.deleteFrom('jobs').where('kind', '=', kind).where('subject', '=', subject).execute()
      touch('jobs')
    },
    async backlog(now) {
      const rows = await db
        .selectFrom('jobs')
        .select((eb) => {
          const isHeld = eb('lease_until', '>', now)
          const isWaiting = eb.and([
            eb('run_at', '<=', now),
            eb.or([eb('lease_until', 'is', null), eb('lease_until', '<=', now)]),
          ])
          return [
            'kind',
            eb.fn.countAll<number>().filterWhere(isWaiting).as('waiting'),
            eb.fn.countAll<number>().filterWhere(isHeld).as('running'),
            eb.fn.min<number | null>('run_at').filterWhere(isWaiting).as('waitingSince'),
          ]
        })
        .groupBy('kind')
        .execute()
      return rows
    },
    async releaseAll() {
      const query = db.updateTable('jobs').set({ lease_owner: null, lease_until: null })
      touch('jobs')
      return (await query.where('lease_owner', 'is not', null).returningAll().execute()).map(toJob)
    },
    async putOff(id, { now, runAt }) {
      const query = db.updateTable('jobs').set({ created_at: now, run_at: runAt })
      await query.where('id', '=', id).where('lease_owner', 'is', null).execute()
    },
    async firstGeneration(kind) {
      const query = db.selectFrom('jobs').select('generation').where('kind', '=', kind)
      const started = query.where('generation', 'is not', null).orderBy('generation').limit(1)
      return (await started.executeTakeFirst())?.generation ?? undefined
    },
  }
}

type Queue = Pick<Claim, 'kind' | 'now' | 'perAccount'>

/** Who claims knows of so many jobs before he waits for others' claims. */
const KNOWN_FIRST = 16

const mayRun = (job: string, now: number) => {
  const [runAt, until] = [sql.ref(`${job}.run_at`), sql.ref(`${job}.lease_until`)]
  return sql`${runAt} <= ${now} and (${until} is null or ${until} <= ${now})`
}

const countRunning = (
  { kind, now }: Pick<Queue, 'kind' | 'now'>,
  account: string,
) => sql`(select count(*) from jobs held
  where held.kind = ${kind} and held.account_id = ${sql.ref(account)} and held.lease_until > ${now})`

/**
 * Of each account that may run one more, the first job that may run, in the order in which they are to be taken. Goes
 * from account to account by the index: what it costs does not depend on how many jobs wait.
 */
const firstInLine = ({ kind, now, perAccount }: Queue) => sql<{ id: string }>`
  with recursive accounts (id) as (
    select min(account_id) from jobs where kind = ${kind}
    union all
    select (select min(more.account_id) from jobs more where more.kind = ${kind} and more.account_id > accounts.id)
    from accounts where accounts.id is not null
  ), heads (id, run_at, created_at, running) as (
    select head.id, head.run_at, head.created_at, ${countRunning({ kind, now }, 'accounts.id')}
    from accounts join jobs head on head.id = (
      select id from jobs next
      where next.kind = ${kind} and next.account_id = accounts.id and ${mayRun('next', now)}
      order by next.run_at, next.created_at limit 1)
  )
  select id from heads where running < ${perAccount} order by running, run_at, created_at limit ${KNOWN_FIRST}`

/** Of some jobs, the one that is to be taken now. */
const firstFree = (queue: Queue, jobs: readonly { id: string }[], lock: RawBuilder<unknown>) => sql<string>`(
  select job.id from jobs job
  where job.id in (${sql.join(jobs.map(({ id }) => id))}) and ${mayRun('job', queue.now)}
    and ${countRunning(queue, 'job.account_id')} < ${queue.perAccount}
  order by ${countRunning(queue, 'job.account_id')}, job.run_at, job.created_at limit 1 ${lock})`

function toJob(row: JobRow): Job {
  return {
    id: row.id,
    kind: row.kind,
    subject: row.subject,
    accountId: row.account_id,
    payload: JSON.parse(row.payload),
    runAt: row.run_at,
    attempt: row.attempt,
    failures: row.failures,
  }
}
