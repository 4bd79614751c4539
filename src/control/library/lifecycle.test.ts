import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { Refusal, SourceFailure } from '#base/refusal.ts'
import type { ImageStatus } from '#model/image.ts'
import { canChange } from '#model/image-rules.ts'
import { type LibraryFixture, openLibrary, REGISTER } from './library.fixtures.ts'

const SEEDS = 12
const STEPS = 120

/** What an image must look like by all that was done so far; the library never sees it. */
interface Expected {
  readonly id: string
  readonly mine: boolean
  status: ImageStatus
  public: boolean
  locked: boolean
}

/** Numbers that a seed repeats (mulberry32). */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), 1 | state)
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word
    return ((word ^ (word >>> 14)) >>> 0) % below
  }
}

/** The error code of what a call throws, or `done`. */
async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call
    return 'done'
  } catch (error) {
    if (error instanceof LibraryError) return error.code
    throw error
  }
}

class Lifecycle {
  readonly #fixture: LibraryFixture
  readonly #next: (below: number) => number
  readonly images: Expected[] = []
  readonly #answered = new Set<number>()

  constructor(fixture: LibraryFixture, next: (below: number) => number) {
    this.#fixture = fixture
    this.#next = next
  }

  #sessionOf = (mine: boolean) => (mine ? this.#fixture.owner : this.#fixture.other)

  async register(): Promise<void> {
    const mine = this.#next(2) === 0
    const open = this.#next(2) === 0
    const { id } = await this.#fixture.library.register(this.#sessionOf(mine), { ...REGISTER, public: open })
    this.images.push({ id, mine, status: 'creating', public: open, locked: false })
  }

  /** Lets one ingest that is under way end in some manner. */
  async answer(): Promise<void> {
    const { scripted, options } = this.#fixture
    await options.jobs.poll()
    const open = scripted.calls.flatMap((call, index) =>
      call.signal.aborted || this.#answered.has(index) ? [] : [index],
    )
    const index = open[this.#next(Math.max(1, open.length))]
    const call = index === undefined ? undefined : scripted.calls[index]
    if (index === undefined || !call) return
    this.#answered.add(index)
    const creating = new Set(
      this.images.filter((image) => image.status === 'creating').map((image) => image.id),
    )
    const kind = this.#next(4)
    if (kind < 2) call.succeed()
    else if (kind === 2) call.fail(new Refusal('empty', 'The image is empty.'))
    else call.fail(new SourceFailure('The download failed.', { retryable: true }))
    await this.#untilWritten(creating, kind)
  }

  /** Which image it was is seen by what became of it. */
  async #untilWritten(creating: ReadonlySet<string>, kind: number): Promise<void> {
    const wanted = kind < 2 ? 'available' : 'failed'
    await this.#until(async () => {
      for (const id of creating) {
        const image = await this.#fixture.options.catalog.images.find(id)
        const expected = this.images.find((one) => one.id === id)
        if (image && expected && image.status !== 'creating') {
          assert.equal(image.status, wanted)
          expected.status = image.status
          return true
        }
        if (kind === 3 && (await this.#isPutOff(id))) return true
      }
      return false
    })
  }

  async #until(condition: () => Promise<boolean>): Promise<void> {
    for (let turn = 0; turn < 200; turn++) {
      if (await condition()) return
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.fail('what should have come of it did not')
  }

  readonly #putOff = new Map<string, number>()
  async #isPutOff(id: string): Promise<boolean> {
    const job = await this.#fixture.options.catalog.jobs.find('registration', id)
    if (!job || job.failures <= (this.#putOff.get(id) ?? 0)) return false
    this.#putOff.set(id, job.failures)
    return true
  }

  async change(): Promise<void> {
    const image = this.images[this.#next(Math.max(1, this.images.length))]
    if (!image) return
    const byOwner = this.#next(4) > 0
    const session = this.#sessionOf(byOwner === image.mine)
    const { library } = this.#fixture
    const usable = image.status === 'available' || image.status === 'deprecated'
    const denial = !byOwner && image.public && usable ? 'denied' : 'not_found'
    const refusal = byOwner && image.status !== 'deleted' ? undefined : denial
    switch (this.#next(6)) {
      case 0: {
        const locked = this.#next(2) === 0
        const call = locked ? library.lock(session, image.id) : library.unlock(session, image.id)
        assert.equal(await outcome(call), refusal ?? 'done')
        if (!refusal) image.locked = locked
        break
      }
      case 1: {
        const open = this.#next(2) === 0
        const expected = refusal ?? (image.status === 'deleting' ? 'conflict' : 'done')
        assert.equal(await outcome(library.update(session, image.id, { public: open })), expected)
        if (expected === 'done') image.public = open
        break
      }
      case 2:
      case 3: {
        const status = this.#next(2) === 0 ? 'available' : 'deprecated'
        const expected = refusal ?? (usable ? 'done' : 'conflict')
        assert.equal(await outcome(library.update(session, image.id, { status })), expected)
        if (expected === 'done') image.status = status
        break
      }
      case 4: {
        const expected = refusal ?? (image.locked ? 'conflict' : 'done')
        assert.equal(await outcome(library.destroy(session, image.id)), expected)
        if (expected === 'done') image.status = 'deleting'
        break
      }
      default: {
        const expected = refusal === 'denied' ? undefined : refusal
        assert.equal(
          await outcome(library.use(session, image.id)),
          expected ?? (usable ? 'done' : 'conflict'),
        )
      }
    }
  }

  /** Time passes: deletions end and what was put off may run again. */
  async wait(): Promise<void> {
    const { clock, options } = this.#fixture
    clock.at += 2000
    await options.jobs.heartbeat()
    await options.jobs.poll()
    for (const image of this.images.filter((one) => one.status === 'deleting')) {
      await this.#until(async () => {
        await options.jobs.poll()
        return (await options.catalog.images.find(image.id))?.status !== 'deleting'
      })
      image.status = 'deleted'
    }
  }

  async check(): Promise<void> {
    for (const mine of [true, false]) {
      const expected = this.images.filter((image) =>
        image.mine === mine ? image.status !== 'deleted' : image.public && image.status === 'available',
      )
      const listed = await this.#fixture.library.list(this.#sessionOf(mine))
      const shape = (image: Pick<Expected, 'id' | 'status' | 'public' | 'locked'>) =>
        `${image.id} ${image.status} ${image.public} ${image.locked}`
      assert.deepEqual(listed.map(shape).sort(), expected.map(shape).sort())
    }
  }
}

const STATUS_OF: Readonly<Record<string, ImageStatus>> = {
  'image.registered': 'creating',
  'image.available': 'available',
  'image.failed': 'failed',
  'image.deprecated': 'deprecated',
  'image.restored': 'available',
  'image.deleting': 'deleting',
  'image.deleted': 'deleted',
}

/** Each image's events tell how it came to be what it is, by allowed steps. */
async function checkEvents(
  { library, owner, other }: LibraryFixture,
  images: readonly Expected[],
): Promise<void> {
  for (const { id, mine, status } of images) {
    const told: ImageStatus[] = (await library.events(mine ? owner : other, id)).flatMap(
      (event) => STATUS_OF[event.action] ?? [],
    )
    assert.equal(told[0], 'creating')
    assert.equal(told.at(-1), status, id)
    told.slice(1).forEach((to, index) => {
      assert.ok(canChange(told[index] ?? 'deleted', to), `${id}: ${told.join(' ')}`)
    })
  }
}

test('lifecycle: whatever is done in whatever order, images are as the rules say', async () => {
  const first = Number(process.env.SEED ?? randomBytes(4).readUInt32LE())
  for (let seed = first; seed < first + SEEDS; seed++) {
    try {
      await using fixture = await openLibrary({ registrations: { concurrency: 3, perAccount: 2 } })
      const next = seeded(seed)
      const lifecycle = new Lifecycle(fixture, next)
      for (let step = 0; step < STEPS; step++) {
        const kind = next(10)
        if (kind === 0) await lifecycle.register()
        else if (kind < 4) await lifecycle.answer()
        else if (kind < 9) await lifecycle.change()
        else await lifecycle.wait()
        if (step % 10 === 0) await lifecycle.check()
      }
      await lifecycle.check()
      await checkEvents(fixture, lifecycle.images)
    } catch (error) {
      throw new Error(`seed ${seed} (run again with SEED=${seed})`, { cause: error })
    }
  }
})
