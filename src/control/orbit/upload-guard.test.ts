import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openCatalog } from '#control/catalog/catalog.ts'
import { readRoots } from '#control/library/roots.ts'
import { UploadGuard } from './upload-guard.ts'

const GRAIN = 20
const HOUR = 3_600_000

async function openGuard() {
  const catalog = await openCatalog({ path: ':memory:' })
  const clock = { at: 1_000_000 }
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
    })
  const since = async () => (await readRoots(catalog, () => clock.at)).unclaimedSince + GRAIN
  return {
    catalog,
    clock,
    writes,
    guardOf,
    since,
    [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose](),
  }
}

test('upload guard: collection leaves alone what is newer than the first upload under way in any process', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, since } = fixture
  await using one = guardOf('one')
  await using other = guardOf('other')
  assert.equal(await since(), clock.at)
  const first = await one.keep()
  clock.at += 1000
  await other.keep()
  clock.at += 1000
  assert.equal(await since(), clock.at - 2000)
  await first[Symbol.asyncDispose]()
  await one.renew()
  assert.equal(await since(), clock.at - 1000)
})

test('upload guard: uploads that follow one another write one row, which goes on with the time', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, since, writes } = fixture
  await using guard = guardOf('one')
  const began = clock.at
  for (let count = 0; count < 30; count++) {
    await using _upload = await guard.keep()
    clock.at += 100
  }
  assert.equal(writes.count, 1)
  const last = await guard.keep()
  clock.at += 20_000
  assert.equal(await since(), began)
  await guard.renew()
  assert.equal(await since(), clock.at - 20_000)
  await last[Symbol.asyncDispose]()
  await guard.renew()
  assert.equal(await since(), clock.at)
})

test('upload guard: a row that is about to run out is written again before anybody relies on it', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, since } = fixture
  await using guard = guardOf('one')
  await (await guard.keep())[Symbol.asyncDispose]()
  clock.at += 12 * HOUR - 1000
  const began = clock.at
  await guard.keep()
  clock.at += 30_000
  assert.equal(await since(), began)
})

test('upload guard: one that begins while the row is being removed is seen', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, since } = fixture
  await using guard = guardOf('one')
  await (await guard.keep())[Symbol.asyncDispose]()
  clock.at += 1000
  const began = clock.at
  await Promise.all([guard.renew(), guard.keep()])
  clock.at += 1000
  assert.equal(await since(), began)
})

test('upload guard: a process that died, or slept, is waited for half a day and no longer', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, since } = fixture
  await using guard = guardOf('one')
  await guard.keep()
  clock.at += 12 * HOUR - 1
  assert.equal(await since(), clock.at - 12 * HOUR + 1)
  clock.at += 1
  assert.equal(await since(), clock.at)
})

test('upload guard: where the catalog does not answer, nobody relies on it', async () => {
  const failing = { relaxed: () => Promise.reject(new Error('no disk')) }
  await using guard = new UploadGuard({ catalog: failing, holder: 'one', now: () => 1_000_000 })
  await assert.rejects(guard.keep(), /no disk/)
})

test('upload guard: disposing of it leaves no row', async () => {
  await using fixture = await openGuard()
  const { clock, guardOf, catalog } = fixture
  {
    await using guard = guardOf('one')
    await guard.keep()
    assert.equal(await catalog.uploadGuards.firstSince(clock.at), clock.at)
  }
  assert.equal(await catalog.uploadGuards.firstSince(clock.at), undefined)
})
