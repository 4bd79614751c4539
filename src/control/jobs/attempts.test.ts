import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { logFields, withLogFields } from '#base/log-context.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { createJobQueue, type JobHandler, type JobRun } from './queue.ts'

const KIND = 'work'
const SUBJECT = 'img-00001'
const passing = new LibraryError('unavailable', 'try again')

const untilAborted = ({ signal }: JobRun) =>
  new Promise<void>((_resolve, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  )

/** One job, whose attempts do what `run` says, and a queue that tells how they ended. */
async function open(t: TestContext, run: JobHandler['run'], attemptsMax?: number) {
  const catalog = await openTestCatalog()
  const account = await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
  const clock = { at: 1_000_000 }
  const outcomes: string[] = []
  const settled: unknown[] = []
  const silent = { info: () => {}, warn: () => {}, error: () => {} }
  const queue = createJobQueue({
    ...{ catalog, owner: 'one', random: randomBytes, log: silent, now: () => clock.at },
    generations: { generation: async () => 1 },
    onAttempt: ({ kind, outcome, ms }) => outcomes.push(`${kind} ${outcome} ${ms}`),
    ...(attemptsMax === undefined ? {} : { attemptsMax }),
  })
  const handler: JobHandler = {
    run,
    retrying: async () => {},
    failed: async () => {},
    settled: async (_job, _ended, error) => void settled.push(error),
  }
  queue.handle(KIND, handler, { concurrency: 1, perAccount: 1 })
  t.after(async () => {
    await queue[Symbol.asyncDispose]()
    await catalog[Symbol.asyncDispose]()
  })
  const times = { runAt: clock.at, createdAt: clock.at }
  await catalog.jobs.insert({ kind: KIND, subject: SUBJECT, accountId: account.id, payload: {}, ...times })
  return { catalog, clock, queue, outcomes, settled }
}

test('attempts: one that succeeds is done, and takes as long as it took', async (t) => {
  const { queue, outcomes, clock } = await open(t, async ({ finish }) => {
    clock.at += 250
    await finish(async () => {})
  })
  await queue.poll()
  await queue.settled()
  assert.deepEqual(outcomes, ['work done 250'])
})

test('attempts: failures are retried, and at last it has failed; the handler is told of each error', async (t) => {
  const { queue, outcomes, clock, settled } = await open(t, () => Promise.reject(passing), 2)
  await queue.poll()
  await queue.settled()
  clock.at += 3600_000
  await queue.poll()
  await queue.settled()
  assert.deepEqual(outcomes, ['work retried 0', 'work failed 0'])
  assert.deepEqual(settled, [passing, passing])
})

test('attempts: one that is cancelled is not one that lost its lease', async (t) => {
  const { queue, outcomes, catalog } = await open(t, untilAborted)
  await queue.poll()
  await catalog.jobs.remove(KIND, SUBJECT)
  queue.cancel(KIND, SUBJECT)
  await queue.settled()
  assert.deepEqual(outcomes, ['work cancelled 0'])
})

test('attempts: whose lease is gone has lost it, whether a heartbeat or its end finds that out', async (t) => {
  // It is free again, and taken at once.
  const firstOf = async (outcomes: readonly string[]) => {
    while (outcomes.length === 0) await new Promise((resolve) => setImmediate(resolve))
    return outcomes[0]
  }
  const byHeartbeat = await open(t, untilAborted)
  await byHeartbeat.queue.poll()
  await byHeartbeat.catalog.jobs.releaseAll()
  await byHeartbeat.queue.heartbeat()
  assert.equal(await firstOf(byHeartbeat.outcomes), 'work lost 0')
  const byEnd = await open(t, async ({ finish }) => {
    await byEnd.catalog.jobs.releaseAll()
    await finish(async () => {})
  })
  await byEnd.queue.poll()
  assert.equal(await firstOf(byEnd.outcomes), 'work lost 0')
})

test('attempts: a stop gives them back, free for anybody at once', async (t) => {
  const { queue, outcomes, catalog, clock } = await open(t, untilAborted)
  await queue.poll()
  await queue[Symbol.asyncDispose]()
  assert.deepEqual(outcomes, ['work given back 0'])
  const [backlog] = await catalog.jobs.backlog(clock.at)
  assert.deepEqual([backlog?.waiting, backlog?.running], [1, 0])
  await queue[Symbol.asyncDispose]()
})

test('attempts: their lines have ids of their job, and none of the request that woke the queue', async (t) => {
  let seen: unknown
  const { queue } = await open(t, async ({ job, finish }) => {
    await new Promise((resolve) => setImmediate(resolve))
    seen = { ...logFields(), isOurs: logFields().job === job.id }
    await finish(async () => {})
  })
  await withLogFields({ reqId: 'somebody' }, () => queue.poll())
  await queue.settled()
  const { job: _job, ...rest } = seen as Record<string, unknown>
  assert.deepEqual(rest, { kind: KIND, image: SUBJECT, attempt: 1, failures: 0, isOurs: true })
})
