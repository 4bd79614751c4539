import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Catalog } from '#control/catalog/catalog.ts'
import { memoryStore } from '#data/store/memory.ts'
import { REGISTRATION, type VolumePayload } from './deps.ts'
import { addServer, openLibrary, registerAvailable, snapshotOf } from './library.fixtures.ts'
import { PIN_MS } from './overdue.ts'
import { readRoots } from './roots.ts'

const PLACES = ['image', 'volume', 'pin', 'job'] as const
type Place = (typeof PLACES)[number]

/** Where a manifest may come from where it is; what becomes of a job is an image. */
const MOVES: Readonly<Record<Place, readonly Place[]>> = {
  image: ['volume', 'pin'],
  volume: ['pin', 'job'],
  pin: ['volume', 'job'],
  job: ['image'],
}

function pathsFrom(place: Place, moves: number): Place[][] {
  if (moves === 0) return [[place]]
  return MOVES[place].flatMap((next) => pathsFrom(next, moves - 1).map((rest) => [place, ...rest]))
}

/** Rising lists of `count` numbers below `below`: before which of the reads each move happens. */
function timings(count: number, below: number, from = 0): number[][] {
  if (count === 0) return [[]]
  return Array.from({ length: below - from }, (_, index) => from + index).flatMap((first) =>
    timings(count - 1, below, first).map((rest) => [first, ...rest]),
  )
}

const depsOf = (catalog: Catalog) => ({
  catalog,
  now: () => 1,
  generations: memoryStore(),
  wait: async () => {},
})

/** The catalog, with a call before each read that roots are made of. */
function watched(catalog: Catalog, before: () => Promise<void>): Catalog {
  const told =
    <A extends unknown[], R>(work: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await before()
      return work(...args)
    }
  return {
    ...catalog,
    snapshot: async (read) => {
      await before()
      return catalog.snapshot(read)
    },
    jobs: { ...catalog.jobs, list: told(catalog.jobs.list) },
    objects: { ...catalog.objects, listManifests: told(catalog.objects.listManifests) },
  }
}

async function openPlaces() {
  const fixture = await openLibrary()
  const { catalog } = fixture.options
  const image = await registerAvailable(fixture)
  const { server, volume } = await addServer(fixture, image)
  const { accountId } = image
  const put: Readonly<Record<Place, (manifest: string) => Promise<() => Promise<unknown>>>> = {
    async image(manifest) {
      const { ancestor: _, id: _id, ...row } = image
      const made = await catalog.images.insert({ ...row, manifest })
      return () => catalog.images.update(made.id, { status: 'deleted' }, ['available'])
    },
    async volume(manifest) {
      const { id: _, ...row } = volume
      const made = await catalog.volumes.insert({ ...row, manifest })
      return () => catalog.volumes.update(made.id, { status: 'deleted', deletedAt: 1 })
    },
    async pin(manifest) {
      await catalog.pins.set(manifest, 'test', 1 + PIN_MS)
      return () => catalog.pins.remove(manifest, 'test')
    },
    async job(manifest) {
      const payload: Partial<VolumePayload> = { source: 'volume', serverId: server.id, manifest }
      const subject = `img-${manifest}`
      await catalog.jobs.insert({ kind: REGISTRATION, subject, accountId, payload, runAt: 1, createdAt: 1 })
      return () => catalog.jobs.remove(REGISTRATION, subject)
    },
  }
  return {
    catalog,
    put,
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  }
}

test('roots: a manifest that moves from one place to the next is seen, whenever it does', async () => {
  await using places = await openPlaces()
  const { catalog, put } = places
  let reads = 0
  const count = watched(catalog, async () => void reads++)
  await Array.fromAsync((await readRoots(depsOf(count))).manifests())
  let runs = 0
  for (const moves of [1, 2, 3]) {
    for (const path of PLACES.flatMap((place) => pathsFrom(place, moves))) {
      // A job more or less makes one read more or less.
      for (const timing of timings(moves, reads + 2)) {
        const manifest = `m${runs++}`
        const rest = path.slice(1)
        const due = [...timing]
        let read = 0
        let leave = await put[path[0] ?? 'image'](manifest)
        const moveOn = async () => {
          while (due[0] === read) {
            due.shift()
            // There first, then no longer here: so does everything that moves one.
            const arrive = await put[rest.shift() ?? 'image'](manifest)
            await leave()
            leave = arrive
          }
          read++
        }
        const roots = await readRoots(depsOf(watched(catalog, moveOn)))
        const seen = await Array.fromAsync(roots.manifests())
        assert.ok(seen.includes(manifest), `${path.join(' → ')} before reads ${timing.join(', ')}`)
        await leave()
      }
    }
  }
  assert.ok(runs > 500)
})

test('roots: a volume needs its manifest until it stands alone, its snapshot until the job is over', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options, scripted } = fixture
  const { catalog } = options
  const image = await registerAvailable(fixture)
  const base = image.manifest ?? ''
  const { server, volume } = await addServer(fixture, image)
  const roots = async () => new Set(await Array.fromAsync((await library.operator.roots()).manifests()))
  await catalog.images.update(image.id, { status: 'deleted' }, ['available'])
  assert.ok((await roots()).has(base))
  const snapshot = await catalog.transaction((tables) =>
    library.snapshots.register(tables, snapshotOf(server, image, owner, { manifest: base })),
  )
  await catalog.volumes.update(volume.id, { status: 'deleted', deletedAt: 1 })
  assert.ok((await roots()).has(base))
  library.snapshots.wake()
  ;(await scripted.call(1)).succeed({ manifest: 'ef'.repeat(32) })
  await options.jobs.settled()
  assert.equal((await library.show(owner, snapshot.id)).status, 'available')
  assert.deepEqual(await roots(), new Set(['ef'.repeat(32)]))
})

test('roots: a volume that stands alone, and a snapshot that reads its base, need no manifest', async () => {
  await using fixture = await openLibrary()
  const { library, owner, options } = fixture
  const { catalog } = options
  const image = await registerAvailable(fixture)
  const { server, volume } = await addServer(fixture, image)
  await catalog.images.update(image.id, { status: 'deleted' }, ['available'])
  await catalog.volumes.update(volume.id, { standsAlone: true })
  await catalog.transaction((tables) =>
    library.snapshots.register(tables, snapshotOf(server, image, owner, { manifest: undefined })),
  )
  assert.deepEqual(await Array.fromAsync((await library.operator.roots()).manifests()), [])
})
