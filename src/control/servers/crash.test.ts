import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import type { IngestCall } from '#control/library/library.fixtures.ts'
import { Faults, failingCatalog } from '../../../test/support/failing.ts'
import { openServers, type ServersFixture } from './servers.fixtures.ts'

const RUNS = Number(process.env.RUNS ?? 30)

/** What a guest wrote so far, and how many of its words the disk of each snapshot must have. */
interface Story {
  readonly id: () => Promise<string>
  readonly written: string[]
}

/** A part of a server's life; it may be broken off anywhere by the daemon's death, and is then begun again. */
type Part = (at: ServersFixture, story: Story) => Promise<void>

async function write(at: ServersFixture, { written }: Story, word: string) {
  await at.until(() => at.host.running().length > 0)
  if (written.includes(word)) return
  at.host.running()[0]?.write(word)
  written.push(word)
}

async function becomes(at: ServersFixture, id: string, status: string) {
  await at.until(async () => (await at.statusOf(id)) === status)
}

async function losesNothing(at: ServersFixture, story: Story) {
  // It goes on writing while the disk is read.
  const written = [...story.written]
  const disk = new Set(await at.diskOf(await story.id()))
  assert.deepEqual(
    written.filter((word) => !disk.has(word)),
    [],
  )
}

/** Words on the disk that a snapshot's job was given. */
async function wordsOf({ request }: IngestCall): Promise<string[]> {
  const { source } = request
  assert.ok(source.kind === 'volume')
  const texts = await Promise.all(source.layers.map((path) => readFile(path, 'utf8')))
  return [...new Set(texts.flatMap((text) => text.split('\n').filter(Boolean)))].sort()
}

const build: Part = async (at, story) => {
  const { servers, library, imageId, catalog } = at
  if ((await catalog.servers.listExisting()).length === 0)
    await servers.create(library.owner, { image: imageId })
  const id = await story.id()
  await becomes(at, id, 'active')
  await write(at, story, 'a')
}

const fill: Part = async (at, story) => {
  const id = await story.id()
  await at.until(async () => (await at.events(id)).includes('filled'))
}

/** Takes the nth snapshot, unless that was done before the daemon died. */
const snap =
  (count: number): Part =>
  async (at, story) => {
    const { servers, library } = at
    const id = await story.id()
    await becomes(at, id, 'active')
    if ((await servers.show(library.owner, id)).snapshots.length < count)
      await servers.snapshot(library.owner, id)
    await library.options.jobs.poll()
    const call = await library.scripted.call(count)
    // The daemon may have died before, so more may have been written since; never less is read.
    const words = await wordsOf(call)
    for (const word of count === 1 ? ['a'] : ['a', 'b'])
      assert.ok(words.includes(word), `${word} is in ${words}`)
  }

const readSnapshot =
  (count: number): Part =>
  async ({ library }) => {
    const call = await library.scripted.call(count)
    assert.equal((await wordsOf(call)).includes('c'), false, 'what was written later is not in it')
    call.succeed()
    await library.options.jobs.settled()
  }

const writes =
  (word: string): Part =>
  (at, story) =>
    write(at, story, word)

const stop: Part = async (at, story) => {
  const { servers, library, catalog } = at
  const id = await story.id()
  if ((await catalog.servers.find(id))?.goal === 'running') await servers.stop(library.owner, id)
  await becomes(at, id, 'inactive')
  assert.deepEqual(at.host.running(), [])
}

const start: Part = async (at, story) => {
  const { servers, library, catalog } = at
  const id = await story.id()
  if ((await catalog.servers.find(id))?.goal === 'stopped') await servers.start(library.owner, id)
  await becomes(at, id, 'active')
}

const merge: Part = async (at, story) => {
  const id = await story.id()
  await at.until(async () => ((await at.catalog.volumes.ofServers([id]))[0]?.layers.length ?? 0) <= 2)
}

const destroy: Part = async (at, story) => {
  const { servers, library } = at
  const id = await story.id()
  await servers.destroy(library.owner, id)
  await becomes(at, id, 'deleted')
}

const LIFE: readonly Part[] = [
  ...[build, snap(1), writes('b'), fill, readSnapshot(1), merge],
  ...[snap(2), writes('c'), stop, start, writes('d'), readSnapshot(2), merge, destroy],
]

const NONE = { of: new Faults(), due: [], kind: 0 }

/** A client tries again what could not be done. */
async function attempt(work: () => Promise<void>): Promise<'done' | 'failed'> {
  try {
    await work()
    return 'done'
  } catch (error) {
    if (error instanceof LibraryError && error.code === 'unavailable') return 'failed'
    throw error
  }
}

/**
 * Goes through a server's life; the daemon dies at these steps, and where they are negative its machines with it;
 * others just fail once.
 * @param calls calls to the catalog that fail, too, and of what kind
 * @returns how many steps there were
 */
async function live(
  deaths: readonly number[],
  faults: readonly number[] = [],
  calls: { readonly of: Faults; readonly due: readonly number[]; readonly kind: number } = NONE,
): Promise<number> {
  await using at = await openServers({}, (catalog) => failingCatalog(catalog, calls.of))
  // A daemon that cannot begin says so and ends.
  calls.of.arm(calls.due, calls.kind)
  let known: string | undefined
  const story: Story = {
    written: [],
    id: async () => {
      known ??= (await at.catalog.servers.listExisting())[0]?.id
      assert.ok(known)
      return known
    },
  }
  at.host.onStep = (_step, index) => {
    // The guest does not wait for anybody.
    for (const process of at.host.running()) {
      process.write(`step-${index}`)
      story.written.push(`step-${index}`)
    }
    if (faults.includes(index)) throw new LibraryError('unavailable', `a fault at step ${index}`)
    if (!deaths.includes(index) && !deaths.includes(-index)) return
    at.host.killDaemon()
    if (deaths.includes(-index)) for (const process of at.host.running()) process.end('died')
  }
  for (const part of LIFE) {
    for (;;) {
      const death = at.host.death.then(() => 'dead' as const)
      const outcome = await Promise.race([death, attempt(() => part(at, story))])
      if (outcome === 'done') break
      if (outcome === 'dead') await at.restart()
    }
    assert.deepEqual(at.host.wrongs, [])
    if (part !== destroy) await losesNothing(at, story)
  }
  // The file that a daemon was writing when it died is written to its end here, and taken away again.
  await at.until(async () => (await at.leftovers()).length === 0)
  assert.deepEqual([at.host.running(), [...at.host.exports]], [[], []])
  return at.host.steps.length
}

test('servers: wherever the daemon dies, each goes on as it should and keeps every word', async () => {
  const count = await live([])
  const only = process.env.DEATHS?.split(',').map(Number)
  for (let run = 0; run < (only ? 1 : RUNS); run++) {
    const first = randomInt(1, count + 1)
    const deaths = only ?? [first, first + randomInt(1, 20)].map((step) => step * (randomInt(2) * 2 - 1))
    try {
      await live(deaths)
    } catch (error) {
      throw new Error(`deaths at steps ${deaths} of ${count} (run again with DEATHS=${deaths})`, {
        cause: error,
      })
    }
  }
})

test('servers: whichever step fails once, each goes on as it should and keeps every word', async () => {
  const count = await live([])
  const only = process.env.FAULTS?.split(',').map(Number)
  for (let run = 0; run < (only ? 1 : RUNS); run++) {
    const first = randomInt(1, count + 1)
    const faults = only ?? [first, first + randomInt(1, 20)]
    try {
      await live([], faults)
    } catch (error) {
      throw new Error(`faults at steps ${faults} of ${count} (run again with FAULTS=${faults})`, {
        cause: error,
      })
    }
  }
})

/** Calls to the catalog between two that fail; as many lives fail each of them. */
const STRIDE = 97

test('servers: whichever call to the catalog fails, each goes on as it should and leaves nothing', async (t) => {
  const first = Number(process.env.OFFSET ?? randomInt(1, STRIDE + 1))
  const lives = process.env.OFFSET ? 1 : Math.min(Math.ceil(RUNS / 2), STRIDE)
  let failed = 0
  for (let run = 0; run < lives; run++) {
    // Spread over all, wherever it begins.
    const offset = 1 + ((first - 1 + run * 13) % STRIDE)
    const calls = new Faults()
    const due = Array.from({ length: 1000 }, (_, index) => offset + index * STRIDE)
    try {
      await live([], [], { of: calls, due, kind: offset })
    } catch (cause) {
      const names = calls.failed.join(', ')
      throw new Error(`${names} failed (run again with OFFSET=${offset})`, { cause })
    }
    failed += calls.failed.length
  }
  t.diagnostic(`${failed} calls failed, in ${lives} lives`)
})
