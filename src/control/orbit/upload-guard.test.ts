import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readRoots } from '#control/library/roots.ts'
import { memoryStore } from '#data/store/memory.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { UploadGuard } from './upload-guard.ts'

const HOUR = 3_600_000

async function openGuard() {
  const catalog = await openTestCatalog()
  const clock = { at: 1_000_000 }
  const store = memoryStore()
  const writes = { count: 0 }
  const guardOf = (holder: string) =>
    new UploadGuard({
      catalog: {
        relaxed: (change) => {
          writes.count++
          return catalog.relaxed(change)
        },
      },
      holder,
      now: () => clock.at,
      generations: store,
    })
  /** As a collection asks; `meanwhile` is what happens while it waits for signs of life. */
  const since = async (meanwhile = async () => {}) =>
    (await readRoots({ catalog, now: () => clock.at, generations: store, wait: meanwhile })).unclaimedSince
  const present = () => store.generation()
  return {
    catalog,
    clock,
    writes,
    guardOf,
    since,
    present,
    [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose](),
  }
}

test('upload guard: collection leaves alone what is newer than the first upload under way in any process', async () => {
  await using fixture = await openGuard()
  const { guardOf, since, present } = fixture
  await using one = guardOf('one')
  await using other = guardOf('other')
  assert.equal(await since(), await present())
  const began = await present()
  const first = await one.keep()
  assert.equal(await since(), began)
  const later = await present()
  await other.keep()
  assert.equal(await since(), began)
  await first[Symbol.asyncDispose]()
  await one.renew()
  assert.equal(await since(), later)
})

test('upload guard: uploads that follow one another write one row, which goes on with the time', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, since, present, writes } = fixture
  await using guard = guardOf('one')
  const began = await present()
  for (let count = 0; count < 30; count++) {
    await using _upload = await guard.keep()
    clock.at += 100
  }
  assert.equal(writes.count, 1)
  assert.equal(await since(), began)
  const later = await present()
  const last = await guard.keep()
  await guard.renew()
  assert.equal(await since(), later)
  await last[Symbol.asyncDispose]()
  await guard.renew()
  assert.equal(await since(), await present())
})

test('upload guard: a row that is about to run out is written again before anybody relies on it', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, writes } = fixture
  await using guard = guardOf('one')
  await (await guard.keep())[Symbol.asyncDispose]()
  clock.at += 12 * HOUR - 1000
  await guard.keep()
  assert.equal(writes.count, 2)
})

test('upload guard: one that begins while the row is being removed is seen', async () => {
  await using fixture = await openGuard()
  const { guardOf, since, present } = fixture
  await using guard = guardOf('one')
  await (await guard.keep())[Symbol.asyncDispose]()
  const began = await present()
  await Promise.all([guard.renew(), guard.keep()])
  assert.equal(await since(), began)
})

test('upload guard: a process that died is waited for half a day and no longer', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, since, present } = fixture
  await using guard = guardOf('one')
  const began = await present()
  await guard.keep()
  clock.at += 12 * HOUR - 1
  assert.equal(await since(() => assert.fail('nobody is in doubt')), began)
  clock.at += 1
  assert.equal(await since(), await present())
})

for (const hours of [13, 48, 24 * 365 * 60, -1, -24 * 365 * 60]) {
  test(`upload guard: a clock set by ${hours} hours gives up nobody who lives`, async () => {
    await using fixture = await openGuard()
    const { clock, guardOf, since, present } = fixture
    await using guard = guardOf('one')
    const began = await present()
    await guard.keep()
    clock.at += hours * HOUR
    let asked = 0
    const live = async () => {
      asked++
      await guard.renew()
    }
    assert.equal(await since(live), began)
    assert.equal(asked, 1)
    assert.equal(await since(live), began)
    assert.equal(asked, 1, 'what was renewed is no longer in doubt')
  })
}

test('upload guard: where the catalog does not answer, nobody relies on it', async () => {
  const failing = { relaxed: () => Promise.reject(new Error('no disk')) }
  const options = { catalog: failing, holder: 'one', now: () => 1_000_000, generations: memoryStore() }
  await using guard = new UploadGuard(options)
  await assert.rejects(guard.keep(), /no disk/)
})

test('upload guard: disposing of it leaves no row', async () => {
  await using fixture = await openGuard()
  const { guardOf, catalog, present } = fixture
  {
    await using guard = guardOf('one')
    await guard.keep()
    assert.equal(await catalog.uploadGuards.firstSince(), await present())
  }
  assert.equal(await catalog.uploadGuards.firstSince(), undefined)
})
