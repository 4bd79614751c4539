import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { UploadGuard } from '#control/orbit/upload-guard.ts'
import { createRandom } from '../../../test/support/random-disk.ts'
import { type LibraryFixture, openLibrary, REGISTER, registerAvailable } from './library.fixtures.ts'

const SECOND = 1000
const DAY = 24 * 3600 * SECOND
const YEAR = 365 * DAY
/** From some seconds to years, to before anything was made. */
const JUMPS = [5 * SECOND, 3600 * SECOND, DAY, 5 * YEAR, 60 * YEAR]

/** Time passes as in a daemon, whatever the clock says: it beats, and looks for work. */
async function pass({ clock, options: { jobs } }: LibraryFixture, seconds: number) {
  for (let passed = 0; passed < seconds; passed += 10) {
    clock.at += 10 * SECOND
    await jobs.heartbeat()
    await jobs.poll()
  }
}

for (const jump of JUMPS.flatMap((span) => [span, -span])) {
  test(`clock set by ${jump / SECOND} s: a registration that is to be tried again is, within a minute`, async () => {
    await using fixture = await openLibrary()
    const { library, owner, scripted, clock, options } = fixture
    const { id } = await library.register(owner, REGISTER)
    ;(await scripted.call(0)).fail(new LibraryError('unavailable', 'the disk is full'))
    await options.jobs.settled()
    clock.at += jump
    await pass(fixture, 60)
    ;(await scripted.call(1)).succeed()
    await options.jobs.settled()
    assert.equal((await library.show(owner, id)).status, 'available')
    const actions = (await library.events(owner, id)).map(({ action }) => action)
    const expected = ['image.registered', 'image.started', 'image.retrying', 'image.available']
    assert.deepEqual(actions, expected)
  })

  test(`clock set by ${jump / SECOND} s: what waits, runs and is to be deleted comes to its end`, async () => {
    const registrations = { concurrency: 1, perAccount: 1 }
    await using fixture = await openLibrary({ registrations })
    const { library, owner, scripted, clock, options } = fixture
    const doomed = await registerAvailable(fixture)
    const running = await library.register(owner, REGISTER)
    const waiting = await library.register(owner, REGISTER)
    await scripted.call(1)
    await library.destroy(owner, doomed.id)
    clock.at += jump
    await pass(fixture, 60)
    // A forward jump of more than a lease is a standstill for all that the queue can know: another attempt runs then.
    for (let index = 1; index < scripted.calls.length; index++) scripted.calls[index]?.succeed()
    await options.jobs.settled()
    await pass(fixture, 60)
    for (let index = 1; index < scripted.calls.length; index++) scripted.calls[index]?.succeed()
    await options.jobs.settled()
    assert.equal((await library.show(owner, running.id)).status, 'available')
    assert.equal((await library.show(owner, waiting.id)).status, 'available')
    const row = await options.catalog.images.find(doomed.id)
    assert.equal(row?.status, 'deleted')
  })
}

test('clock set back: an upload has its time to be finished from then on, and no more', async () => {
  await using fixture = await openLibrary()
  const { library, owner, clock, options } = fixture
  const { id } = await library.register(owner, { arch: 'x86_64', upload: true })
  clock.at -= 5 * YEAR
  await pass(fixture, 20)
  const { expiresAt } = await library.uploads.show(owner, id)
  assert.ok(expiresAt > clock.at + DAY - 60 * SECOND && expiresAt <= clock.at + DAY)
  clock.at += DAY
  await pass(fixture, 20)
  await options.jobs.settled()
  assert.equal((await library.show(owner, id)).status, 'failed')
})

test('clock set back: a pin whose holder died then is forgotten in a minute, one that is held is not', async () => {
  await using fixture = await openLibrary()
  const { library, clock, options } = fixture
  const [dead, held] = ['de'.repeat(32), 'ad'.repeat(32)]
  const at = clock.at
  await options.catalog.pins.set(dead, 'dead', at + 60 * SECOND)
  await options.catalog.pins.set(held, 'alive', at + 60 * SECOND)
  clock.at -= YEAR
  const pinned = async () => Array.fromAsync((await library.operator.roots()).manifests())
  assert.deepEqual(new Set(await pinned()), new Set([dead, held]))
  clock.at += 61 * SECOND
  await options.catalog.pins.set(held, 'alive', clock.at + 60 * SECOND)
  assert.deepEqual(new Set(await pinned()), new Set([held]))
})

const RUNS = Number(process.env.RUNS ?? 60)

test('clock that jumps at random: what is written meanwhile is never older than what collection takes', async () => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31))
  const random = createRandom(seed)
  for (let run = 0; run < RUNS; run++) {
    await using fixture = await openLibrary()
    const { library, owner, scripted, clock, options } = fixture
    await using guard = new UploadGuard({ catalog: options.catalog, holder: 'test', now: () => clock.at })
    await library.register(owner, REGISTER)
    await scripted.call(0)
    await using _upload = await guard.keep()
    /** File times of what the registration and the upload wrote. */
    const written: number[] = []
    for (let second = 0; second < 200; second += 5) {
      clock.at += 5 * SECOND
      // Twice between two beats would not be seen.
      if (second % 20 === 5 && random() < 0.4) {
        const span = (JUMPS[Math.floor(random() * JUMPS.length)] ?? 0) * random()
        // Forward it jumps less far than a guard lasts: longer than any machine sleeps.
        clock.at += random() < 0.5 ? -Math.round(span) : Math.min(Math.round(span), 11 * 3600 * SECOND)
      }
      written.push(clock.at)
      if (second % 10 === 0) await options.jobs.heartbeat()
      if (second % 20 === 0) await guard.renew()
      const { unclaimedSince } = await library.operator.roots()
      assert.ok(Math.min(...written) >= unclaimedSince, `SEED=${seed}, run ${run}, second ${second}`)
    }
  }
})
