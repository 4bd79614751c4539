import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { type AloneOptions, runAlone, tryAlone } from './alone.ts'

const log = { info() {}, warn() {}, error() {} }

async function open(t: TestContext) {
  const catalog = await openTestCatalog()
  t.after(() => catalog[Symbol.asyncDispose]())
  const clock = { at: 1_000_000 }
  const options = (holder: string, more: Partial<AloneOptions> = {}): AloneOptions => ({
    catalog,
    holder,
    now: () => clock.at,
    log,
    leaseMs: 1000,
    renewMs: 5,
    ...more,
  })
  return { catalog, clock, options }
}

/** Work that goes on until it is told to stop. */
function endless() {
  const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const work = async (signal: AbortSignal) => {
    begun.resolve()
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
    ended.resolve()
  }
  return { work, begun: begun.promise, ended: ended.promise }
}

test('alone: of two processes one works, and the other after it', async (t) => {
  const { options } = await open(t)
  const [first, second] = [endless(), endless()]
  const [stopFirst, stopSecond] = [new AbortController(), new AbortController()]
  const firstDone = runAlone('check', first.work, options('a'), stopFirst.signal)
  await first.begun
  let isSecondBegun = false
  void second.begun.then(() => {
    isSecondBegun = true
  })
  const secondDone = runAlone('check', second.work, options('b'), stopSecond.signal)
  // What asks for another name is not kept out.
  await runAlone('other', async () => {}, options('b'), stopSecond.signal)
  assert.equal(isSecondBegun, false)
  stopFirst.abort()
  await firstDone
  await second.begun
  stopSecond.abort()
  await secondDone
})

test('alone: who dies is followed once its lease is over', async (t) => {
  const { catalog, clock, options } = await open(t)
  const wish = { name: 'check', holder: 'dead', now: clock.at, lastsMs: 1000 }
  assert.equal(await catalog.leases.take(wish), true)
  const next = endless()
  const stop = new AbortController()
  const done = runAlone('check', next.work, options('b'), stop.signal)
  assert.equal(await catalog.leases.take({ ...wish, holder: 'c' }), false)
  clock.at += 1000
  await next.begun
  stop.abort()
  await done
})

test('alone: a lease from before the clock was set back is not waited for', async (t) => {
  const { catalog, clock } = await open(t)
  const wish = { name: 'check', holder: 'a', now: clock.at, lastsMs: 1000 }
  await catalog.leases.take(wish)
  assert.equal(await catalog.leases.take({ ...wish, holder: 'b', now: clock.at - 500_000 }), true)
  assert.equal(await catalog.leases.take({ ...wish, now: clock.at - 499_999 }), false)
})

test('alone: a process whose clock is a little behind takes no lease from one that has it', async (t) => {
  const { catalog, clock } = await open(t)
  const wish = { name: 'check', holder: 'a', now: clock.at, lastsMs: 1000 }
  await catalog.leases.take(wish)
  for (const behind of [1, 500, 1000])
    assert.equal(
      await catalog.leases.take({ ...wish, holder: 'b', now: clock.at - behind }),
      false,
      `${behind} ms`,
    )
})

test('alone: who lost the lease stops, and begins again when it can', async (t) => {
  const { catalog, clock, options } = await open(t)
  const works = [endless(), endless()]
  let count = 0
  const stop = new AbortController()
  const done = runAlone(
    'check',
    (signal) => works[count++]?.work(signal) ?? Promise.resolve(),
    options('a'),
    stop.signal,
  )
  await works[0]?.begun
  await catalog.leases.removeAll()
  const wish = { name: 'check', holder: 'b', now: clock.at, lastsMs: 1000 }
  // The one that works may renew just before.
  while (!(await catalog.leases.take(wish))) await catalog.leases.removeAll()
  await works[0]?.ended
  await catalog.leases.release('check', 'b')
  await works[1]?.begun
  stop.abort()
  await done
})

test('alone: a catalog that does not answer for long ends the work before another may have it', async (t) => {
  const { catalog, options } = await open(t)
  let isAway = false
  const shaky = {
    beside: (change: Parameters<typeof catalog.beside>[0]) =>
      isAway ? Promise.reject(new LibraryError('unavailable', 'use the catalog')) : catalog.beside(change),
  } as Pick<typeof catalog, 'beside'>
  const only = endless()
  const stop = new AbortController()
  const done = runAlone('check', only.work, options('a', { catalog: shaky, leaseMs: 100 }), stop.signal)
  await only.begun
  isAway = true
  const since = performance.now()
  await only.ended
  assert.ok(performance.now() - since < 100_000)
  stop.abort()
  await done
})

test('alone: work that ends by itself is done once, and one that fails is done again', async (t) => {
  const { options } = await open(t)
  let runs = 0
  const work = async () => {
    runs++
    if (runs === 1) throw new Error('once')
  }
  await runAlone('task', work, options('a'), new AbortController().signal)
  assert.equal(runs, 2)
})

test('alone: once, unless another is at it; what it throws is thrown', async (t) => {
  const { options } = await open(t)
  const { signal } = new AbortController()
  const first = Promise.withResolvers<string>()
  const running = tryAlone('collection', () => first.promise, options('a'), signal)
  while (await tryAlone('collection', async () => {}, options('b'), signal)) await new Promise(setImmediate)
  first.resolve('all')
  assert.deepEqual(await running, { result: 'all' })
  const broken = tryAlone('collection', () => Promise.reject(new Error('disk')), options('b'), signal)
  await assert.rejects(broken, /disk/)
  assert.deepEqual(await tryAlone('collection', async () => 1, options('a'), signal), { result: 1 })
})

test('alone: who waits comes after one that died with its lease, and not for ever', async (t) => {
  const { catalog, clock, options } = await open(t)
  const { signal } = new AbortController()
  await catalog.leases.take({ name: 'collection', holder: 'dead', now: clock.at, lastsMs: 1000 })
  const wait = (waitMs: number) => tryAlone('collection', async () => 1, { ...options('b'), waitMs }, signal)
  assert.equal(await wait(10), undefined)
  const waiting = wait(60_000)
  clock.at += 1000
  assert.deepEqual(await waiting, { result: 1 })
})
