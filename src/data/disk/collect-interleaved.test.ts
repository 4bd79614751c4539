/**
 * Registrations, removals of images and collections at once, their calls to the store put in an order that a seed
 * decides. Whatever the order, every image that is there must be whole at any time.
 */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { MiB } from '#base/bytes.ts'
import { digestOf } from '#data/block/block.ts'
import { createRandom, type Random } from '#data/codec/codec.fixtures.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { memoryStore } from '#data/store/memory.ts'
import { createS3Client } from '#data/store/s3/client.ts'
import {
  LATEST_MS,
  type MemoryObjects,
  memoryObjects,
  remoteObjects,
} from '#data/store/s3/memory-objects.fixtures.ts'
import type { S3Objects } from '#data/store/s3/objects.ts'
import { createS3Store } from '#data/store/s3/store.ts'
import type { Store } from '#data/store/store.ts'
import { createS3Place, RADOSGW } from '../../../test/support/radosgw.ts'
import { encode } from '../../../test/support/store-disk.ts'
import { needs } from '../../../test/support/tools.ts'
import { collect } from './collect.ts'
import { walkManifest } from './walk-manifest.ts'

/** Longer than any request of the game is on its way. */
const PAUSE = 200

const { signal } = new AbortController()

/** Few enough that registrations often meet on the same block. */
const CONTENTS = Array.from({ length: 10 }, (_, index) => {
  const bytes = encode(Buffer.alloc(MiB, `content ${index}`))
  return { digest: digestOf(Buffer.alloc(MiB, `content ${index}`)), bytes }
})

/** Lets one of those who wait go on at a time. */
class Turns {
  readonly #random: Random
  readonly #onTurn: () => void
  readonly #waiting: (() => void)[] = []

  constructor(random: Random, onTurn: () => void = () => {}) {
    this.#random = random
    this.#onTurn = onTurn
  }

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async run(tasks: Promise<void>[]): Promise<void> {
    let isDone = false
    const all = Promise.all(tasks).finally(() => {
      isDone = true
    })
    // It is awaited below, but may fail before.
    all.catch(() => undefined)
    while (!isDone) {
      await setImmediate()
      this.#onTurn()
      this.#waiting.splice(this.#random.below(this.#waiting.length), 1)[0]?.()
    }
    await all
  }
}

/** The store, with a turn before and after each call. */
function inTurns(store: Store, turns: Turns): Store {
  const taking = async <T>(call: () => Promise<T>): Promise<T> => {
    await turns.wait()
    const result = await call()
    await turns.wait()
    return result
  }
  async function* listing<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const item of items) {
      await turns.wait()
      yield item
    }
  }
  const { blocks, manifests } = store
  return {
    blocks: {
      claim: (digest) => taking(() => blocks.claim(digest)),
      sizeOf: (digest) => taking(() => blocks.sizeOf(digest)),
      put: (digest, bytes) => taking(() => blocks.put(digest, bytes)),
      mend: (digest, bytes) => taking(() => blocks.mend(digest, bytes)),
      get: (digest) => taking(() => blocks.get(digest)),
      readInto: (digest, target) => taking(() => blocks.readInto(digest, target)),
      remove: (digest, since) => taking(() => blocks.remove(digest, since)),
      list: () => listing(blocks.list()),
      quarantine: (digest) => taking(() => blocks.quarantine(digest)),
    },
    manifests: {
      claim: (digest) => taking(() => manifests.claim(digest)),
      sizeOf: (digest) => taking(() => manifests.sizeOf(digest)),
      put: (digest, parts) => taking(() => manifests.put(digest, parts)),
      mend: (digest, parts) => taking(() => manifests.mend(digest, parts)),
      open: (digest) => taking(() => manifests.open(digest)),
      remove: (digest, since) => taking(() => manifests.remove(digest, since)),
      list: () => listing(manifests.list()),
      quarantine: (digest) => taking(() => manifests.quarantine(digest)),
    },
    generation: () => store.generation(),
    nextGeneration: () => store.nextGeneration(),
    sync: () => store.sync(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}

/** One store as it is, and as those see it who must wait for their turns. */
interface Stores {
  readonly plain: Store
  readonly writers: Store
  readonly collector: Store
}

function sameInTurns(plain: Store, turns: Turns): Stores {
  const store = inTurns(plain, turns)
  return { plain, writers: store, collector: store }
}

class Library {
  readonly roots = new Map<number, string>()
  readonly #startedIn = new Map<number, number>()
  readonly #plain: Store
  readonly #store: Store
  readonly #collector: Store
  readonly #random: Random
  #nextId = 0

  constructor({ plain, writers, collector }: Stores, random: Random) {
    this.#plain = plain
    this.#store = writers
    this.#collector = collector
    this.#random = random
  }

  async register(): Promise<void> {
    const id = this.#nextId++
    this.#startedIn.set(id, await this.#store.generation())
    await using writer = new ManifestWriter({ directory: tmpdir() })
    const count = 1 + this.#random.below(4)
    for (let index = 0; index < count; index++) {
      const { digest, bytes } = CONTENTS[this.#random.below(CONTENTS.length)]!
      const known = await this.#store.blocks.claim(digest)
      if (known === undefined) await this.#store.blocks.put(digest, bytes)
      await writer.set(index, digest, known ?? bytes.length)
      // Cancelled, or crashed: it never becomes an image, and what it stored is left over.
      if (this.#random.chance(0.1)) return void this.#startedIn.delete(id)
    }
    const { digest } = await writer.finish(this.#store.manifests, count * MiB)
    this.roots.set(id, digest)
    this.#startedIn.delete(id)
  }

  async removeOne(): Promise<void> {
    const ids = [...this.roots.keys()]
    this.roots.delete(ids[this.#random.below(ids.length)] ?? -1)
  }

  /** @param late breaks the rule: forgets the registrations that are under way */
  async collect(late: boolean): Promise<number> {
    const present = await this.#collector.nextGeneration()
    const unclaimedSince = Math.min(present, ...(late ? [] : this.#startedIn.values()))
    const roots = () => Array.from(this.roots.values())
    async function* listed() {
      yield* roots()
    }
    const passes = this.#random.chance(0.3) ? 2 : 1000
    const { blocksRemoved } = await collect({
      store: this.#collector,
      roots: listed,
      unclaimedSince,
      signal,
      digestsPerPass: passes,
    })
    return blocksRemoved
  }

  async assertWhole(where: string): Promise<void> {
    for (const root of [...this.roots.values()])
      for await (const { digest, storedLength } of walkManifest(this.#plain.manifests, root, signal))
        assert.equal((await this.#plain.blocks.get(digest)).length, storedLength, where)
  }
}

interface Game {
  readonly open: (turns: Turns, random: Random) => Stores
  /** Called at each turn. */
  readonly onTurn?: () => void
  /** Collections after which nothing is left over. */
  readonly collections?: number
  readonly late?: boolean
  /** How often each does what it does. */
  readonly rounds?: number
}

async function play(
  { open, onTurn, collections = 1, late = false, rounds = 6 }: Game,
  seed: number,
): Promise<number> {
  const random = createRandom(seed)
  const turns = new Turns(random, onTurn)
  const stores = open(turns, random)
  const library = new Library(stores, random)
  let removed = 0
  const repeat = async (times: number, action: () => Promise<unknown>) => {
    for (let round = 0; round < times; round++) {
      for (let pause = random.below(8); pause > 0; pause--) await turns.wait()
      await action()
    }
  }
  await turns.run([
    repeat(rounds, () => library.register()),
    repeat(rounds, () => library.register()),
    repeat(rounds + 2, () => library.removeOne()),
    repeat(rounds - 1, async () => {
      removed += await library.collect(late)
      await library.assertWhole(`seed ${seed}`)
    }),
  ])
  await library.assertWhole(`seed ${seed}`)

  for (let count = 0; count < collections; count++) {
    for (let pause = count * PAUSE; pause > 0; pause--) onTurn?.()
    await turns.run([library.collect(false).then(() => undefined)])
  }
  const { plain: store } = stores
  const needed = new Set<string>()
  for (const root of library.roots.values())
    for await (const { digest } of walkManifest(store.manifests, root, signal)) needed.add(digest)
  const left = (await Array.fromAsync(store.blocks.list())).map(({ digest }) => digest)
  assert.deepEqual(new Set(left), needed, `seed ${seed}`)
  return removed
}

const inMemory: Game = { open: (turns) => sameInTurns(memoryStore(), turns) }

test('collect: in any order of calls, every image stays whole and nothing is left over', async () => {
  const first = randomInt(2 ** 31)
  let removed = 0
  for (let seed = first; seed < first + 150; seed++) removed += await play(inMemory, seed)
  assert.ok(removed > 50, `collections found ${removed} to remove while others worked`)
})

test('collect: the same on a file system', async () => {
  const first = randomInt(2 ** 31)
  for (let seed = first; seed < first + 8; seed++) {
    const folder = await mkdtemp(join(tmpdir(), 'collect-'))
    try {
      await using store = await openFilesystemStore(folder)
      await play({ open: (turns) => sameInTurns(store, turns) }, seed)
    } finally {
      await rm(folder, { recursive: true })
    }
  }
})

/** Of one's own for writers, the collector and readers, as in processes that know nothing of each other. */
function onObjects(objects: MemoryObjects): Game {
  return {
    open(turns, random) {
      const wait = () => turns.wait()
      const remote = () => remoteObjects(objects, wait, (share) => random.chance(share))
      const open = (objects: S3Objects) => createS3Store({ objects, settledMs: LATEST_MS })
      return { plain: open(objects), writers: open(remote()), collector: open(remote()) }
    },
    onTurn: () => objects.pass(1),
    collections: 3,
  }
}

test('collect: the same on an object store, whose requests are late, doubled and not atomic', async () => {
  const first = randomInt(2 ** 31)
  let removed = 0
  for (let seed = first; seed < first + 150; seed++) {
    const objects = memoryObjects()
    removed += await play(onObjects(objects), seed)
    const aside = objects.keys().filter((key) => key.startsWith('removed/'))
    assert.deepEqual(aside, [], `seed ${seed}: what was moved aside is gone in the end`)
  }
  assert.ok(removed > 50, `collections found ${removed} to remove while others worked`)
})

test("collect: the same on Ceph's object store", needs(...RADOSGW), async () => {
  const { credentials, ...address } = await createS3Place()
  await using objects = createS3Client({ address, credentials: async () => credentials })
  const stores = { plain: createS3Store({ objects, settledMs: 0 }) }
  const remote = (turns: Turns) => {
    const slow = remoteObjects(
      objects,
      () => turns.wait(),
      () => false,
    )
    return createS3Store({ objects: slow, settledMs: 0 })
  }
  const open = (turns: Turns) => ({ ...stores, writers: remote(turns), collector: remote(turns) })
  await play({ open, collections: 3, rounds: 2 }, randomInt(2 ** 31))
})

/** One that takes for settled whatever was moved aside. */
function careless(store: Store): Store {
  const { removed } = store.blocks
  assert.ok(removed)
  async function* list() {
    for await (const file of removed?.list() ?? []) yield { ...file, isSettled: true, removedIn: 0 }
  }
  return { ...store, blocks: { ...store.blocks, removed: { ...removed, list } } }
}

test('collect: deleting at once what was moved aside does harm there, which the game notices', async () => {
  const harmed = async () => {
    for (let seed = 1; seed < 600; seed++) {
      const game = onObjects(memoryObjects())
      const open: Game['open'] = (turns, random) => {
        const stores = game.open(turns, random)
        return { ...stores, collector: careless(stores.collector) }
      }
      await play({ ...game, open }, seed)
    }
  }
  await assert.rejects(harmed)
})

test('collect: forgetting the registrations that are under way does harm, which the game notices', async () => {
  const harmed = async () => {
    for (let seed = 1; seed < 60; seed++) await play({ ...inMemory, late: true }, seed)
  }
  await assert.rejects(harmed)
})
