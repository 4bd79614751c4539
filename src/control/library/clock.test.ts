import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { UploadGuard } from '#control/orbit/upload-guard.ts'
import { digestOf } from '#data/block/block.ts'
import { collect } from '#data/disk/collect.ts'
import { memoryStore } from '#data/store/memory.ts'
import type { Store } from '#data/store/store.ts'
import { createRandom } from '../../../test/support/random-disk.ts'
import { encode } from '../../../test/support/store-disk.ts'
import { type LibraryFixture, openLibrary, REGISTER, registerAvailable } from './library.fixtures.ts'

const SECOND = 1000
const HOUR = 3600 * SECOND
const DAY = 24 * HOUR
const YEAR = 365 * DAY
/** From some seconds to years, to before anything was made. */
const JUMPS = [5 * SECOND, 3600 * SECOND, DAY, 5 * YEAR, 60 * YEAR]

/** Time passes as in a daemon, whatever the clock says: it beats, and looks for work. */
async function pass({ clock, options: { jobs } }: LibraryFixture, seconds: number) {
  for (let passed = 0; passed < seconds; passed += 10) {
    clock.at += 10 * SECOND
    if (clock.elapsed !== undefined) clock.elapsed += 10 * SECOND
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

for (const jump of JUMPS.map((span) => span + HOUR)) {
  test(`clock set forward by ${jump / SECOND} s: an upload is not given up before its time`, async () => {
    await using fixture = await openLibrary()
    const { library, owner, clock, options } = fixture
    clock.elapsed = 0
    const { id } = await library.register(owner, { arch: 'x86_64', upload: true })
    await pass(fixture, 20)
    clock.at += jump
    await pass(fixture, 20)
    assert.equal((await library.show(owner, id)).status, 'creating')
    const { expiresAt } = await library.uploads.show(owner, id)
    assert.ok(expiresAt > clock.at + DAY - 60 * SECOND && expiresAt <= clock.at + DAY)
    for (const clockOf of ['at', 'elapsed'] as const) clock[clockOf] = (clock[clockOf] ?? 0) + DAY
    await pass(fixture, 20)
    await options.jobs.settled()
    assert.equal((await library.show(owner, id)).status, 'failed')
  })
}

for (const jump of JUMPS.flatMap((span) => [span, -span])) {
  test(`clock set by ${jump / SECOND} s: a pin is forgotten whose holder died, and none that is held`, async () => {
    const [dead, held] = ['de'.repeat(32), 'ad'.repeat(32)]
    const hold = async () => {
      if (fixture) await options.catalog.pins.set(held, 'alive', clock.at + 60 * SECOND)
    }
    await using fixture = await openLibrary({ wait: hold })
    const { library, clock, options } = fixture
    await options.catalog.pins.set(dead, 'dead', clock.at + 60 * SECOND)
    await hold()
    clock.at += jump
    const pinned = async () => new Set(await Array.fromAsync((await library.operator.roots()).manifests()))
    assert.ok((await pinned()).has(held))
    clock.at += 61 * SECOND
    assert.deepEqual(await pinned(), new Set([held]))
  })
}

const RUNS = Number(process.env.RUNS ?? 60)

/** A program that keeps blocks: it renews what it holds, and publishes it in the end. */
class Writer {
  readonly guard: UploadGuard
  readonly #store: Store
  readonly blocks = new Set<string>()
  #held: AsyncDisposable | undefined

  constructor(store: Store, guard: UploadGuard) {
    this.#store = store
    this.guard = guard
  }

  async write(content: string): Promise<void> {
    this.#held ??= await this.guard.keep()
    const block = Buffer.alloc(512, content)
    if ((await this.#store.blocks.claim(digestOf(block))) === undefined)
      await this.#store.blocks.put(digestOf(block), encode(block))
    this.blocks.add(digestOf(block))
  }

  async end(): Promise<void> {
    this.blocks.clear()
    await this.#held?.[Symbol.asyncDispose]()
    this.#held = undefined
  }
}

test('clock that is set anyhow, as often as one likes: collection takes nothing of what is being written', async () => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31))
  const random = createRandom(seed)
  const below = (bound: number) => Math.floor(random() * bound)
  let removed = 0
  for (let run = 0; run < RUNS; run++) {
    const store = memoryStore()
    const renew = async () => {
      for (const { guard } of writers) await guard.renew()
    }
    await using fixture = await openLibrary({ generations: store, wait: renew })
    const { library, clock, options } = fixture
    const now = () => clock.at
    const guardOf = (holder: string) =>
      new UploadGuard({ catalog: options.catalog, holder, now, generations: store })
    const writers: readonly Writer[] = ['one', 'two', 'three'].map((name) => new Writer(store, guardOf(name)))
    const one = () => writers[below(writers.length)]
    const steps: readonly (() => Promise<unknown> | undefined)[] = [
      () => one()?.write(`content ${below(9)}`),
      () => one()?.write(`content ${below(9)}`),
      () => one()?.end(),
      () => one()?.guard.renew(),
      async () => {
        const { unclaimedSince } = await library.operator.roots()
        const roots = async function* () {}
        const { signal } = new AbortController()
        removed += (await collect({ store, roots, unclaimedSince, signal })).blocksRemoved
      },
    ]
    for (let step = 0; step < 60; step++) {
      if (random() < 0.5) clock.at += Math.round((random() - 0.5) * 2 * (JUMPS[below(JUMPS.length)] ?? 0))
      await steps[below(steps.length)]?.()
      for (const block of writers.flatMap(({ blocks }) => [...blocks]))
        assert.ok(await store.blocks.sizeOf(block), `SEED=${seed}, run ${run}, step ${step}`)
    }
    for (const { guard } of writers) await guard[Symbol.asyncDispose]()
  }
  assert.ok(removed > RUNS, 'what nobody writes any more is taken')
})
