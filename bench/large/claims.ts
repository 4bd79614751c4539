import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { quantile } from '../object-client.ts'
import type { ClaimAnswer, ClaimOrder } from './claimer.ts'
import { printBar, spread } from './measure.ts'
import type { ManyImages } from './million.ts'
import { openPlanned } from './plans.ts'

const WORKERS = 16
const MS_MOST = 10
/** All of them together then take about a hundred jobs a second. */
const PAUSE_MS = 320

/** Sixteen processes take jobs of a hundred accounts from one queue, do nothing, and end them. */
export async function benchClaims({ url, client }: ManyImages, jobs: number, claims: number): Promise<void> {
  await client.query(`insert into jobs (id, kind, subject, account_id, payload, created_at, run_at, attempt,
      failures)
    select 'job-b' || i, 'bench', 'bench' || i, account.id, '{}', i, i, 0, 0 from generate_series(1, ${jobs}) i
    join (select id, row_number() over () as number, count(*) over () as total from accounts) account
      on account.number = 1 + i % account.total`)
  await client.query('vacuum analyze jobs')
  const children = Array.from({ length: WORKERS }, (_, index) =>
    fork(join(import.meta.dirname, 'claimer.ts'), [url, `claimer-${index}`]),
  )
  try {
    const answer = async (child: (typeof children)[number]): Promise<ClaimAnswer> => {
      const ended = once(child, 'exit').then(() => Promise.reject(new Error('a claimer ended')))
      const [told] = await Promise.race([once(child, 'message'), ended])
      return told
    }
    await Promise.all(children.map(answer))
    console.log(`\n## Claims by ${WORKERS} workers from a queue of ${jobs} jobs of 100 accounts\n`)
    console.log('| | median, ms | p99, ms | worst, ms |\n|---|---|---|---|')
    const measure = async (name: string, order: ClaimOrder) => {
      const answers = children.map(answer)
      const began = performance.now()
      for (const child of children) child.send(order)
      const ms = (await Promise.all(answers)).flatMap((told) => (told === 'ready' ? [] : told.ms))
      const rate = Math.round((1000 * ms.length) / (performance.now() - began))
      console.log(`| ${name} (${rate} jobs/s) | ${spread(ms)} |`)
      return quantile(ms, 0.99)
    }
    await measure('warming up', { kind: 'bench', claims: 5, pauseMs: 0 })
    const paced = await measure('with pauses', { kind: 'bench', claims, pauseMs: PAUSE_MS })
    const always = await measure('without a pause', { kind: 'bench', claims, pauseMs: 0 })
    console.log()
    printBar({ what: 'claim, 16 workers with pauses, p99', value: paced, unit: ' ms', most: MS_MOST })
    printBar({ what: 'claim, 16 workers without a pause, p99', value: always, unit: ' ms', most: MS_MOST })
    await using planned = openPlanned(url)
    const claim = { kind: 'bench', owner: 'plan', generation: 1, leaseMs: 30_000, perAccount: 2 }
    await planned.printPlans('claim', () => planned.jobs.claim({ ...claim, now: Date.now() }))
  } finally {
    for (const child of children) child.disconnect()
    await client.query(`delete from jobs where kind = 'bench'`)
  }
}
