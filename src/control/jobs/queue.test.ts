import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import { type OpenCatalog, onEach } from '../../../test/support/catalogs.ts'
import { createJobQueue, type JobHandler, type JobLimits, type JobRun, LeaseLost } from './queue.ts'

const KIND = 'work'
const LEASE_MS = 30_000
const passing = () => new LibraryError('unavailable', 'try again')

/** A handler that does what each test says, and writes down what it is told. */
class Script implements JobHandler {
  readonly told: string[] = []
  readonly runs: JobRun[] = []
  #step: (run: JobRun) => Promise<void>

  constructor(step: (run: JobRun) => Promise<void> = (run) => this.succeed(run)) {
    this.#step = step
  }

  async run(run: JobRun) {
    this.runs.push(run)
    await this.#step(run)
  }

  async succeed({ job, finish }: JobRun) {
    await finish((tables) => tables.settings.set(job.subject, 'done'))
  }

  async retrying(_: unknown, job: Job) {
    this.told.push(`retrying ${job.subject} after ${job.failures}`)
  }

  async failed(_: unknown, job: Job) {
    this.told.push(`failed ${job.subject} after ${job.failures}`)
  }

  async settled(job: Job, ended: boolean) {
    this.told.push(`settled ${job.subject} ${ended}`)
  }
}

async function setUp(openCatalog: OpenCatalog) {
  const clock = { at: 1_000_000 }
  const logged: string[] = []
  const told: object[] = []
  const catalog = await openCatalog()
  const account = await catalog.accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
  const queue = (
    owner: string,
    handler: JobHandler,
    limits: Partial<JobLimits> = {},
    over: Catalog = catalog,
  ) => {
    const log = {
      info: (fields: object, message: string) => void told.push({ message, ...fields }),
      warn: () => {},
      error: (_: object, message: string) => void logged.push(message),
    }
    const made = createJobQueue({
      catalog: over,
      owner,
      now: () => clock.at,
      generations: { generation: async () => 1 },
      random: randomBytes,
      log,
      leaseMs: LEASE_MS,
    })
    made.handle(KIND, handler, { concurrency: 2, perAccount: 2, ...limits })
    return made
  }
  const add = (subject: string, accountId = account.id, runAt = clock.at) =>
    catalog.jobs.insert({ kind: KIND, subject, accountId, payload: { subject }, runAt, createdAt: clock.at })
  const done = async (subject: string) => (await catalog.settings.get(subject)) === 'done'
  const open = async (subject: string) => (await catalog.jobs.find(KIND, subject)) !== undefined
  return {
    clock,
    logged,
    told,
    catalog,
    account,
    queue,
    add,
    done,
    open,
    [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose](),
  }
}

/** Runs until its signal aborts. */
const untilAborted = ({ signal }: JobRun) =>
  new Promise<void>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  )

/** Steps that wait for the test. */
function gate() {
  const entered = Promise.withResolvers<void>()
  const opened = Promise.withResolvers<void>()
  return {
    entered: entered.promise,
    open: () => opened.resolve(),
    pass: async () => {
      entered.resolve()
      await opened.promise
    },
  }
}

onEach('job queue: a job runs once, its result and its end are one transaction', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  const handler = new Script()
  await using queue = setup.queue('one', handler)
  await setup.add('s1')
  await queue.poll()
  await queue.settled()
  assert.deepEqual([await setup.done('s1'), await setup.open('s1'), handler.runs.length], [true, false, 1])
  assert.deepEqual(handler.runs[0]?.job.payload, { subject: 's1' })
})

onEach('job queue: there is one job of a kind for a subject', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  await setup.add('s1')
  await assert.rejects(setup.add('s1'), /unique/i)
})

onEach(
  'job queue: a result that cannot be published leaves nothing, and the job fails',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const handler = new Script(({ finish }) =>
      finish(async (tables) => {
        await tables.settings.set('s1', 'done')
        throw new Error('a bug')
      }),
    )
    await using queue = setup.queue('one', handler)
    await setup.add('s1')
    await queue.poll()
    await queue.settled()
    assert.deepEqual(
      [await setup.done('s1'), handler.told],
      [false, ['failed s1 after 1', 'settled s1 true']],
    )
  },
)

onEach('job queue: a handler that forgets to finish fails its job', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  const handler = new Script(async () => {})
  await using queue = setup.queue('one', handler)
  await setup.add('s1')
  await queue.poll()
  await queue.settled()
  assert.equal(await setup.open('s1'), false)
  assert.equal(handler.told[0], 'failed s1 after 1')
})

onEach(
  'job queue: passing failures are tried again later and later, lasting ones at once given up',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const handler = new Script(async () => Promise.reject(passing()))
    await using queue = setup.queue('one', handler)
    await setup.add('s1')
    for (let failures = 1; failures <= 5; failures++) {
      await queue.poll()
      await queue.settled()
      assert.equal(handler.runs.length, failures)
      const job = await setup.catalog.jobs.find(KIND, 's1')
      if (failures === 5) assert.equal(job, undefined)
      else assert.equal(job?.failures, failures)
      // A moment too early nothing happens.
      setup.clock.at = (job?.runAt ?? 1) - 1
      await queue.poll()
      await queue.settled()
      assert.equal(handler.runs.length, failures)
      setup.clock.at += 1
    }
    assert.equal(handler.told.at(-2), 'failed s1 after 5')
    assert.equal(handler.told.filter((line) => line.startsWith('retrying')).length, 4)
  },
)

onEach('lease: while one process holds a job and renews, no other gets it', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  const { entered, open, pass } = gate()
  const first = new Script(async (run) => {
    await pass()
    await first.succeed(run)
  })
  const second = new Script()
  await using one = setup.queue('one', first)
  await using two = setup.queue('two', second)
  await setup.add('s1')
  await one.poll()
  await entered
  for (let beat = 0; beat < 5; beat++) {
    setup.clock.at += LEASE_MS - 1
    await one.heartbeat()
    await two.poll()
  }
  assert.equal(second.runs.length, 0)
  open()
  await one.settled()
  assert.equal(await setup.done('s1'), true)
})

onEach(
  'lease: one that ran out goes to another, and the late one may publish nothing',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const { entered, open, pass } = gate()
    let rejection: unknown
    const late = new Script(async ({ finish }) => {
      await pass()
      await finish((tables) => tables.settings.set('s1', 'late')).catch((error) => {
        rejection = error
        throw error
      })
    })
    const next = new Script()
    await using one = setup.queue('one', late)
    await using two = setup.queue('two', next)
    await setup.add('s1')
    await one.poll()
    await entered
    setup.clock.at += LEASE_MS
    await two.poll()
    await two.settled()
    open()
    await one.settled()
    assert.ok(rejection instanceof LeaseLost)
    assert.equal(next.runs[0]?.job.attempt, 2)
    assert.equal(await setup.catalog.settings.get('s1'), 'done')
    assert.deepEqual(late.told, [])
  },
)

onEach(
  'lease: the same process that got its job back is told apart from its older attempt by number',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const steps = [gate(), gate()]
    let call = 0
    const outcomes: string[] = []
    const handler = new Script(async ({ job, finish }) => {
      const step = steps[call++]
      await step?.pass()
      await finish((tables) => tables.settings.set('s1', String(job.attempt))).then(
        () => outcomes.push(`${job.attempt} published`),
        (error) => {
          outcomes.push(`${job.attempt} ${error.name}`)
          throw error
        },
      )
    })
    await using one = setup.queue('same', handler)
    await using two = setup.queue('same', handler)
    await setup.add('s1')
    await one.poll()
    await steps[0]?.entered
    setup.clock.at += LEASE_MS
    await two.poll()
    await steps[1]?.entered
    steps[0]?.open()
    await one.settled()
    steps[1]?.open()
    await two.settled()
    assert.deepEqual(outcomes, ['1 LeaseLost', '2 published'])
  },
)

onEach(
  'lease: after a standstill a process claims its own job again, and stops the older attempt',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const handler = new Script(untilAborted)
    await using queue = setup.queue('one', handler)
    await setup.add('s1')
    await queue.poll()
    setup.clock.at += LEASE_MS
    await queue.poll()
    await queue.heartbeat()
    assert.deepEqual(
      handler.runs.map(({ job, signal }) => [job.attempt, signal.aborted]),
      [
        [1, true],
        [2, false],
      ],
    )
  },
)

onEach('lease: losing it aborts the attempt at the next heartbeat', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  const handler = new Script(untilAborted)
  await using one = setup.queue('one', handler)
  await using two = setup.queue('two', new Script())
  await setup.add('s1')
  await one.poll()
  setup.clock.at += LEASE_MS
  await two.poll()
  await two.settled()
  await one.heartbeat()
  await one.settled()
  assert.ok(handler.runs[0]?.signal.reason instanceof LeaseLost)
  assert.deepEqual(handler.told, [])
})

onEach(
  'cancel: a job taken off the catalog is aborted and nobody is told of a failure',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const handler = new Script(untilAborted)
    await using queue = setup.queue('one', handler, { concurrency: 3 })
    await setup.add('s1')
    await setup.add('s2')
    await queue.poll()
    await setup.catalog.jobs.remove(KIND, 's1')
    queue.cancel(KIND, 's1')
    queue.cancel('other', 's2')
    assert.deepEqual(
      handler.runs.map(({ signal }) => signal.aborted),
      [true, false],
    )
    await setup.catalog.jobs.remove(KIND, 's2')
    await queue.heartbeat()
    await queue.settled()
    assert.deepEqual(handler.told, [])
  },
)

onEach(
  'stopping: gives jobs back without counting a failure, and a successor takes them at once',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const handler = new Script(untilAborted)
    {
      await using queue = setup.queue('one', handler)
      await setup.add('s1')
      await queue.poll()
    }
    assert.deepEqual(handler.told, [])
    const successor = new Script()
    await using queue = setup.queue('two', successor)
    await queue.poll()
    await queue.settled()
    assert.equal(successor.runs[0]?.job.failures, 0)
    assert.equal(await setup.done('s1'), true)
  },
)

onEach(
  'a dead process: its jobs are taken up at once by the one that has the folder after it',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    await setup.add('s1')
    // It claims and is heard of no more.
    const claim = {
      kind: KIND,
      owner: 'dead',
      now: setup.clock.at,
      generation: 1,
      leaseMs: LEASE_MS,
      perAccount: 1,
    }
    assert.equal((await setup.catalog.jobs.claim(claim))?.subject, 's1')
    const handler = new Script()
    await using queue = setup.queue('alive', handler)
    await queue.poll()
    assert.equal(handler.runs.length, 0)
    await queue.releaseAllLeases()
    await queue.poll()
    await queue.settled()
    assert.equal(await setup.done('s1'), true)
  },
)

onEach(
  'a job that was under way at many deaths lets all others go first, for longer each time',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    await setup.add('s1')
    const handler = new Script()
    await using queue = setup.queue('one', handler)
    const waits: number[] = []
    for (let count = 0; count < 20; count++) {
      const claim = {
        kind: KIND,
        owner: 'dead',
        now: setup.clock.at,
        generation: 1,
        leaseMs: LEASE_MS,
        perAccount: 1,
      }
      assert.ok(await setup.catalog.jobs.claim(claim), 'it can be claimed once its time has come')
      await queue.releaseAllLeases()
      const job = await setup.catalog.jobs.find(KIND, 's1')
      assert.ok(job)
      const wait = Math.max(0, job.runAt - setup.clock.at)
      if (wait > 0) assert.equal(await setup.catalog.jobs.claim(claim), undefined, 'it waits')
      waits.push(wait / 1000)
      setup.clock.at += wait
    }
    const atOnce = Array.from({ length: 10 }, () => 0)
    assert.deepEqual(waits, [...atOnce, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
  },
)

onEach('a job that ends its process every time is given up in the end', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  await setup.add('s1')
  const claim = {
    kind: KIND,
    owner: 'dead',
    now: setup.clock.at,
    generation: 1,
    leaseMs: LEASE_MS,
    perAccount: 1,
  }
  const handler = new Script()
  await using queue = setup.queue('one', handler)
  for (let count = 0; count < 20; count++) {
    await setup.catalog.jobs.claim(claim)
    await setup.catalog.jobs.releaseAll()
  }
  await queue.poll()
  await queue.settled()
  assert.deepEqual([handler.runs.length, handler.told[0]], [0, 'failed s1 after 1'])
})

onEach('a process that is stopped in good order does not count against its jobs', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  await setup.add('s1')
  let last: Job | undefined
  for (let count = 0; count < 30; count++) {
    const handler = new Script(untilAborted)
    await using queue = setup.queue(`process ${count}`, handler)
    await queue.poll()
    assert.equal(handler.runs.length, 1, `start ${count} takes it up`)
    assert.deepEqual(handler.told, [])
    last = handler.runs[0]?.job
  }
  assert.deepEqual([last?.attempt, last?.failures], [2, 0])
  const handler = new Script()
  await using queue = setup.queue('last', handler)
  await queue.poll()
  await queue.settled()
  assert.equal(await setup.catalog.settings.get('s1'), 'done')
})

onEach(
  'limits: no more run at once than the process and each account may, accounts in turn',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    const other = await setup.catalog.accounts.insert({ name: 'b', status: 'active', createdAt: 1 })
    const handler = new Script(untilAborted)
    await using queue = setup.queue('one', handler, { concurrency: 4, perAccount: 2 })
    for (const subject of ['a1', 'a2', 'a3', 'a4']) {
      await setup.add(subject)
      setup.clock.at += 1
    }
    await setup.add('b1', other.id)
    await queue.poll()
    const subjects = handler.runs.map(({ job }) => job.subject)
    assert.deepEqual(subjects, ['a1', 'b1', 'a2'])
    await setup.catalog.jobs.remove(KIND, 'b1')
    await queue.heartbeat()
    await queue.poll()
    // Account a has as many as it may have, though there is room.
    assert.equal(handler.runs.length, 3)
  },
)

onEach('limits: the last free place is kept for an account that runs none', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  const other = await setup.catalog.accounts.insert({ name: 'b', status: 'active', createdAt: 1 })
  const handler = new Script(untilAborted)
  await using queue = setup.queue('one', handler, { concurrency: 4, perAccount: 9 })
  const subjects = () => handler.runs.map(({ job }) => job.subject)
  for (const subject of ['a1', 'a2', 'a3', 'a4']) {
    await setup.add(subject)
    setup.clock.at += 1
  }
  await queue.poll()
  assert.deepEqual(subjects(), ['a1', 'a2', 'a3'])
  for (const subject of ['b1', 'b2']) await setup.add(subject, other.id)
  await queue.poll()
  assert.deepEqual(subjects(), ['a1', 'a2', 'a3', 'b1'])
})

onEach('limits: a single place serves whoever comes', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  const handler = new Script()
  await using queue = setup.queue('one', handler, { concurrency: 1, perAccount: 2 })
  for (const subject of ['a1', 'a2']) await setup.add(subject)
  await queue.poll()
  await queue.settled()
  await queue.poll()
  await queue.settled()
  assert.equal(handler.runs.length, 2)
})

onEach('a catalog that fails is reported and outlived', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  let broken = true
  const beside: Catalog['beside'] = (change) =>
    broken ? Promise.reject(passing()) : setup.catalog.beside(change)
  const handler = new Script()
  await using queue = setup.queue('one', handler, {}, { ...setup.catalog, beside })
  await setup.add('s1')
  await queue.poll()
  assert.deepEqual(setup.logged, ['cannot look for work'])
  broken = false
  await queue.poll()
  await queue.settled()
  assert.equal(await setup.done('s1'), true)
})

onEach(
  'heartbeat: without a catalog for as long as a lease lasts, attempts are stopped',
  async (openCatalog) => {
    await using setup = await setUp(openCatalog)
    let broken = false
    const beside: Catalog['beside'] = (change) =>
      broken ? Promise.reject(passing()) : setup.catalog.beside(change)
    const handler = new Script(untilAborted)
    await using queue = setup.queue('one', handler, {}, { ...setup.catalog, beside })
    await setup.add('s1')
    await queue.poll()
    await queue.heartbeat()
    broken = true
    setup.clock.at += LEASE_MS - 1
    await queue.heartbeat()
    assert.equal(handler.runs[0]?.signal.aborted, false)
    setup.clock.at += 1
    await queue.heartbeat()
    assert.equal(handler.runs[0]?.signal.aborted, true)
    broken = false
  },
)

onEach('queue: a refused image is no trouble of ours: it is told without a stack', async (openCatalog) => {
  await using fixture = await setUp(openCatalog)
  const refuse = async () => {
    throw new Refusal('truncated', 'The file ends too early.')
  }
  await using queue = fixture.queue('one', new Script(refuse))
  await fixture.add('img-00001')
  await queue.poll()
  await queue.settled()
  const [line] = fixture.told as { category: string; reason: string; image: string; err?: unknown }[]
  assert.deepEqual(
    [line?.category, line?.reason, line?.image, line?.err],
    ['truncated', 'The file ends too early.', 'img-00001', undefined],
  )
})

onEach('job queue: what others remove ends here without a heartbeat', async (openCatalog, kind) => {
  await using setup = await setUp(openCatalog)
  const [began, ended] = [gate(), gate()]
  const handler = new Script(async (run) => {
    await began.pass()
    await untilAborted(run).finally(ended.pass)
  })
  began.open()
  ended.open()
  await using queue = setup.queue('one', handler, { concurrency: 1 })
  queue.start()
  await setup.add('s1')
  await began.entered
  // Of another process's changes, a file tells nothing.
  await using opened = kind === 'postgres' ? await openCatalog() : undefined
  const started = performance.now()
  await (opened ?? setup.catalog).transaction(({ jobs }) => jobs.remove(KIND, 's1'))
  await ended.entered
  assert.ok(performance.now() - started < 9000)
  await queue.settled()
  assert.deepEqual(handler.told, [])
})

onEach('job queue: a machine whose clock is behind cuts no lease of another short', async (openCatalog) => {
  await using setup = await setUp(openCatalog)
  const { catalog, clock } = setup
  await setup.add('s1')
  const claim = { kind: KIND, generation: 1, leaseMs: LEASE_MS, perAccount: 9 }
  assert.ok(await catalog.beside(({ jobs }) => jobs.claim({ ...claim, owner: 'ahead', now: clock.at })))
  await catalog.relaxed(({ jobs }) => jobs.followClock(clock.at - 20_000, LEASE_MS))
  const take = (now: number) => catalog.beside(({ jobs }) => jobs.claim({ ...claim, owner: 'other', now }))
  assert.equal(await take(clock.at + LEASE_MS - 1), undefined)
  assert.ok(await take(clock.at + LEASE_MS))
})
