import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import { SYSTEM } from '#model/event.ts'
import { type Kind, type OpenCatalog, onEach } from '../../../test/support/catalogs.ts'

type Catalogs = readonly [Catalog, ...Catalog[]]

/** As several processes have it. SQLite would wait in this one thread for itself, so there it is one. */
async function openSeveral(
  open: OpenCatalog,
  kind: Kind,
): Promise<AsyncDisposable & { readonly catalogs: Catalogs }> {
  const stack = new AsyncDisposableStack()
  const first = stack.use(await open())
  const more = kind === 'postgres' ? [stack.use(await open()), stack.use(await open())] : []
  return { catalogs: [first, ...more], [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

const KIND = 'work'
const LEASE_MS = 30_000
const PER_ACCOUNT = 2

const CLAIM = { kind: KIND, generation: 1, now: 1000, leaseMs: LEASE_MS, perAccount: PER_ACCOUNT }
const addAccount = ({ accounts }: Pick<Catalog, 'accounts'>) =>
  accounts.insert({ name: 'a', status: 'active', createdAt: 1 })
const addJob = (catalog: Catalog, accountId: string, subject: string) =>
  catalog.jobs.insert({ kind: KIND, subject, accountId, payload: {}, runAt: 1, createdAt: 1 })
const claim = (catalog: Catalog, owner: string, now = CLAIM.now) =>
  catalog.beside(({ jobs }) => jobs.claim({ ...CLAIM, owner, now }))

onEach(
  'claims: of many at once, each gets a job of its own, and no account more than it may run',
  async (open, kind) => {
    await using opened = await openSeveral(open, kind)
    const { catalogs } = opened
    const [first] = catalogs
    const accounts = [await addAccount(first), await addAccount(first), await addAccount(first)]
    for (let index = 0; index < 30; index++) await addJob(first, accounts[index % 3]?.id ?? '', `s${index}`)
    const claims = catalogs.flatMap((catalog, process) =>
      Array.from({ length: 8 }, (_, worker) => claim(catalog, `${process}-${worker}`)),
    )
    const claimed = (await Promise.all(claims)).filter((job) => job !== undefined)
    assert.equal(new Set(claimed.map(({ id }) => id)).size, claimed.length)
    const perAccount = Map.groupBy(claimed, ({ accountId }) => accountId)
    assert.deepEqual(
      [...perAccount.values()].map(({ length }) => length),
      [PER_ACCOUNT, PER_ACCOUNT, PER_ACCOUNT],
    )
    // A place is free again, for one.
    const [done] = claimed as [Job, ...Job[]]
    const owner = async (job: Job) => {
      for (const catalog of catalogs.keys())
        for (let worker = 0; worker < 8; worker++)
          if (await first.transaction(({ jobs }) => jobs.finish(`${catalog}-${worker}`, job))) return
      assert.fail('nobody held it')
    }
    await owner(done)
    const more = (
      await Promise.all(catalogs.map((catalog, index) => claim(catalog, `more-${index}`)))
    ).filter(Boolean)
    assert.deepEqual(
      more.map((job) => job?.accountId),
      [done.accountId],
    )
  },
)

onEach(
  'leases: of one that renews and one that takes over at the same moment, one has the job',
  async (open, kind) => {
    await using opened = await openSeveral(open, kind)
    const [one, two = one] = opened.catalogs
    const { id: accountId } = await addAccount(one)
    for (let round = 0; round < 10; round++) {
      await addJob(one, accountId, `s${round}`)
      const job = await claim(one, 'one')
      assert.ok(job)
      const late = CLAIM.now + LEASE_MS
      const [renewed, taken] = await Promise.all([
        one.beside(({ jobs }) => jobs.renew('one', [job], late + LEASE_MS)),
        claim(two, 'two', late),
      ])
      assert.equal(renewed.size, taken ? 0 : 1)
      const held = taken ?? job
      assert.equal(await one.transaction(({ jobs }) => jobs.finish(taken ? 'one' : 'two', held)), false)
      assert.equal(await one.transaction(({ jobs }) => jobs.finish(taken ? 'two' : 'one', held)), true)
    }
  },
)

onEach(
  'transactions: what one has read is still so when it writes, however many processes do that',
  async (open, kind) => {
    await using opened = await openSeveral(open, kind)
    const { catalogs } = opened
    const [first] = catalogs
    const { id: accountId } = await addAccount(first)
    const QUOTA = 7 * catalogs.length
    const take = async ({ settings, events }: Tables) => {
      const used = Number((await settings.get('used')) ?? 0)
      await delay(0)
      if (used >= QUOTA) return 'refused'
      await settings.set('used', String(used + 1))
      const event = {
        accountId,
        resourceId: 'r',
        action: 'image.updated',
        message: 'm',
        actor: SYSTEM,
      } as const
      await events.add({ ...event, createdAt: 1 })
      return 'taken'
    }
    const tries = catalogs.flatMap((catalog) =>
      Array.from({ length: 10 }, (_, index) =>
        index % 2 === 0 ? catalog.transaction(take) : catalog.relaxed(take),
      ),
    )
    const outcomes = await Promise.all(tries)
    assert.equal(outcomes.filter((outcome) => outcome === 'taken').length, QUOTA)
    assert.equal(await first.settings.get('used'), String(QUOTA))
    const events = await first.events.list({ accountId, after: 0, limit: 100 })
    assert.deepEqual(
      events.map(({ sequence }) => sequence),
      Array.from({ length: QUOTA }, (_, index) => index + 1),
    )
  },
)

onEach('events: whoever has seen one has seen all below it, while others are written', async (open, kind) => {
  await using opened = await openSeveral(open, kind)
  const [writing, reading = writing] = opened.catalogs
  const { id: accountId } = await addAccount(writing)
  const event = { accountId, resourceId: 'r', action: 'image.updated', message: 'm', actor: SYSTEM } as const
  const COUNT = 40
  let isDone = false
  const writers = Promise.all(
    Array.from({ length: COUNT }, () =>
      writing.transaction(({ events }) => events.add({ ...event, createdAt: 1 })),
    ),
  ).finally(() => {
    isDone = true
  })
  const seen: number[] = []
  for (let isLast = false; !isLast; ) {
    isLast = isDone
    const page = await reading.events.list({ accountId, after: seen.at(-1) ?? 0, limit: 10 })
    seen.push(...page.map(({ sequence }) => sequence))
    if (page.length > 0) isLast = false
    await delay(0)
  }
  await writers
  assert.deepEqual(
    seen,
    Array.from({ length: COUNT }, (_, index) => index + 1),
  )
})

onEach('changes: one process hears of those of another, or sees them when it looks', async (open, kind) => {
  await using opened = await openSeveral(open, kind)
  const [one, two = one] = opened.catalogs
  const { id: accountId } = await addAccount(one)
  const heard = { events: 0, jobs: 0 }
  const woken = { events: Promise.withResolvers<void>(), jobs: Promise.withResolvers<void>() }
  for (const topic of ['events', 'jobs'] as const)
    two.onChange(topic, () => {
      heard[topic]++
      woken[topic].resolve()
    })
  // As it begins to listen, all is told.
  if (kind === 'postgres') await Promise.all([woken.events.promise, woken.jobs.promise])
  woken.events = Promise.withResolvers()
  woken.jobs = Promise.withResolvers()
  const before = { ...heard }
  const teller = kind === 'postgres' ? one : two
  const failing = teller.transaction(async (tables) => {
    await addJob(tables as Catalog, accountId, 'never')
    throw new Error('stop')
  })
  await assert.rejects(failing, /stop/)
  await teller.transaction(async (tables) => addJob(tables as Catalog, accountId, 's'))
  await woken.jobs.promise
  assert.equal(heard.events, before.events)
  const event = { accountId, resourceId: 'r', action: 'image.updated', message: 'm', actor: SYSTEM } as const
  await teller.transaction(({ events }) => events.add({ ...event, createdAt: 1 }))
  await woken.events.promise
})
