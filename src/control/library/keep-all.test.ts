import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import { keepAllStored } from './keep-all.ts'
import { PIN_MS, RENEW_MS } from './overdue.ts'
import { readRoots } from './roots.ts'

async function open() {
  const catalog = await openCatalog({ path: ':memory:' })
  const clock = { at: 1_000_000 }
  const now = () => clock.at
  const generations = { nextGeneration: async () => 50 }
  /** What a collection that begins now spares. */
  const unclaimedSince = async () =>
    (await readRoots({ catalog, now, generations, wait: async () => {} })).unclaimedSince
  const keep = () => keepAllStored({ catalog, holder: 'us', now, elapsed: now })
  return { catalog, clock, keep, unclaimedSince, [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose]() }
}

test('keep all: collections spare everything until it is over, whoever starts meanwhile', async () => {
  await using world = await open()
  assert.equal(await world.unclaimedSince(), 50)
  {
    await using _kept = await world.keep()
    assert.equal(await world.unclaimedSince(), 0)
    // As a library does that is alone with its catalog.
    await world.catalog.relaxed(({ uploadGuards }) => uploadGuards.removeAll())
    assert.equal(await world.unclaimedSince(), 0)
  }
  assert.equal(await world.unclaimedSince(), 50)
})

test('keep all: it is renewed, and runs out a minute after its process has died', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  await using world = await open()
  await using kept = await world.keep()
  for (let beat = 0; beat < 10; beat++) {
    world.clock.at += RENEW_MS
    t.mock.timers.tick(RENEW_MS)
    // The renewal is a transaction of the same catalog, and comes before this one.
    await world.catalog.relaxed(async () => {})
    kept.demand()
  }
  assert.equal(await world.unclaimedSince(), 0)
  world.clock.at += PIN_MS + 1
  assert.equal(await world.unclaimedSince(), 50)
})

test('keep all: who stood still for too long is told, also after it was renewed again', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  await using world = await open()
  await using kept = await world.keep()
  t.mock.timers.tick(RENEW_MS)
  await world.catalog.relaxed(async () => {})
  world.clock.at += PIN_MS + 1
  const lost = { code: 'unavailable', message: /stood still/ }
  t.mock.timers.tick(RENEW_MS)
  await world.catalog.relaxed(async () => {})
  assert.throws(() => kept.demand(), lost)
})
