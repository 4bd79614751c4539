import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import * as nodeFiles from 'node:fs/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Part } from '#base/content.ts'
import { LibraryError } from '#base/errors.ts'
import { Resources } from '#base/resources.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { createJobQueue, type JobQueue } from '#control/jobs/queue.ts'
import { createLibrary } from '#control/library/create-library.ts'
import type { FindObject } from '#control/library/deps.ts'
import { type LibraryFixture, openLibrary } from '#control/library/library.fixtures.ts'
import type { Library } from '#control/library/library.ts'
import { createObjectFinder } from '#control/orbit/find-object.ts'
import { type OrbitFixture, openOrbit } from '#control/orbit/orbit.fixtures.ts'
import { UploadGuard } from '#control/orbit/upload-guard.ts'
import { BLOCK_SIZE, blockCount, blockLength, decodeUnknown, maxStoredSize } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE, createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { createContentStore, type OpenContentStore } from '#data/content/create-content-store.ts'
import { collect } from '#data/disk/collect.ts'
import type { Ingest, IngestRequest } from '#data/disk/ingest-types.ts'
import { readParts } from '#data/disk/parts-source.ts'
import { openManifest } from '#data/manifest/manifest.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { keepBlock } from '#data/store/keep-block.ts'
import type { Store } from '#data/store/store.ts'
import type { Image } from '#model/image.ts'
import { Faults, failingCatalog, failingFiles, failingSync } from './failing.ts'

const SECOND = 1000
/** Where syncing costs nothing; power is not what fails here. */
const MEMORY = '/dev/shm'
/** Between two looks of what waits; less than a lease, so that it is renewed. */
const STEP = 9 * SECOND
/** Whatever needs more fake time than some hours is stuck. */
const STEPS_MAX = 1500
const { signal } = new AbortController()
/** What Orbit is reached at. */
export const HOST = 'orbit.test'

/** A library and Orbit whose catalog and store fail on cue, under a clock that the test moves. */
export interface FaultWorld extends AsyncDisposable {
  readonly faults: Faults
  readonly fixture: LibraryFixture
  /** Fails on cue. */
  readonly catalog: Catalog
  readonly library: Library
  readonly jobs: JobQueue
  readonly orbit: OrbitFixture
  readonly contents: OpenContentStore
  /** Of the library, fails on cue. */
  readonly store: Store
  /** The same folder; never fails. */
  readonly sound: Store
  readonly folder: string
  /** What URLs lead to. */
  readonly sources: Map<string, Buffer>
  /** Time passes until nothing is left to be done. */
  settle(): Promise<void>
  /** @throws what the store or the catalog do, on cue */
  collect(): Promise<void>
  /** Deletes everything, and sees that nothing at all is left. */
  empty(): Promise<void>
}

export async function openFaultWorld(): Promise<FaultWorld> {
  await using opened = new AsyncDisposableStack()
  const folder = await mkdtemp(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'faults-'))
  opened.defer(() => rm(folder, { recursive: true }))
  const faults = new Faults()
  const fixture = opened.use(await openLibrary())
  const { clock } = fixture
  // Files have the system's time; what is collected was written before.
  clock.at = Date.now() + 3600 * SECOND
  const storeFolder = join(folder, 'store')
  const sound = opened.use(await openFilesystemStore(storeFolder))
  const files = failingFiles(nodeFiles, faults)
  const opening = await openFilesystemStore(storeFolder, { files, syncCommand: 'true' })
  const store = failingSync(opened.use(opening), faults)
  await store.sync()
  const sources = new Map<string, Buffer>()
  const catalog = failingCatalog(fixture.options.catalog, faults)
  const { now, log } = fixture.options
  const jobs = opened.use(
    createJobQueue({ catalog, owner: 'faults', now, generations: store, random: randomBytes, log }),
  )
  const guard = opened.use(new UploadGuard({ catalog, holder: 'faults', now, generations: store }))
  const places = { storePlace: storeFolder, spoolDirectory: folder, store }
  const keep = () => guard.keep()
  const contents = opened.use(createContentStore({ ...places, threads: 1, reserve: 0, keep }))
  const ingest = plainIngest({ store, sources, folder })
  const findObject: FindObject = (url, asker) =>
    createObjectFinder({ orbit: orbit.orbit, hosts: () => [HOST] })(url, asker)
  const joinParts = (parts: Parameters<OpenContentStore['join']>[0]) => contents.join(parts)
  const openEditor: OpenContentStore['openEditor'] = (base, options) => contents.openEditor(base, options)
  const library: Library = opened.use(
    createLibrary({
      ...{ ...fixture.options, openEditor, catalog, jobs, ingest, findObject, joinParts },
      ...{ generations: store, wait: async () => {} },
    }),
  )
  const acquirePins = (manifests: Iterable<string>) => library.acquirePins(manifests)
  const orbitNow = () => clock.at * 1000
  // Disposing of it would close the catalog, which is the fixture's.
  const orbit: OrbitFixture = await openOrbit({ catalog, contents, acquirePins, keep, now: orbitNow })
  const closing = opened.move()
  const world: FaultWorld = {
    ...{ faults, fixture, catalog, library, jobs, orbit, contents, store, sound, folder, sources },
    settle: () => settle(world),
    async collect() {
      const { unclaimedSince, manifests } = await library.operator.roots()
      await collect({ store, roots: manifests, unclaimedSince, signal })
    },
    empty: () => empty(world, guard),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
  return world
}

/** The way of a registration in one thread, over a store that may fail: sources are raw disks. */
function plainIngest(world: {
  readonly store: Store
  readonly sources: ReadonlyMap<string, Buffer>
  readonly folder: string
}): Ingest {
  const { store, sources, folder } = world
  const readSource = async ({ source }: IngestRequest): Promise<Buffer> => {
    if (source.kind === 'http') return sources.get(source.url) ?? Buffer.alloc(0)
    // What they are made of is stored already.
    if (source.kind === 'parts' && source.disk === undefined) return readAll(source.parts, store)
    const manifest = source.kind === 'parts' ? source.disk : 'manifest' in source.base && source.base.manifest
    assert.ok(manifest)
    return readDisk(store, manifest)
  }
  return async (request, { onProgress, signal }) => {
    const bytes = await readSource(request)
    await using manifest = new ManifestWriter({ directory: folder })
    const keepWith = createKeeper(store)
    let [dataSize, addedSize] = [0, 0]
    for (let index = 0; index < blockCount(bytes.length); index++) {
      signal.throwIfAborted()
      const length = blockLength(bytes.length, index)
      keepWith.codec.bytes.set(bytes.subarray(index * BLOCK_SIZE, index * BLOCK_SIZE + length), SOURCE)
      const kept = await keepBlock(keepWith, SOURCE, length)
      const received = index * BLOCK_SIZE + length
      const total = bytes.length
      const far = { phase: 'receiving', received, total, rate: 1, decoded: received } as const
      onProgress({ ...far, virtualSize: total, dataSize })
      if (!kept) continue
      await manifest.set(index, kept.digest, kept.storedLength)
      dataSize += length
      if (!kept.known) addedSize += kept.storedLength
    }
    const { digest } = await manifest.finish(store.manifests, bytes.length)
    await store.sync()
    const nothing = { url: undefined, finalUrl: undefined, etag: undefined, lastModified: undefined }
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const result = { manifest: digest, virtualSize: bytes.length, dataSize, addedSize, formatChain: 'raw' }
    return { ...result, notes: [], source: { ...nothing, bytes: bytes.length, sha256 } }
  }
}

async function readAll(parts: readonly Part[], store: Store): Promise<Buffer> {
  await using reader = readParts(parts, store)
  const chunks = await Array.fromAsync(reader.read(0, reader.size, signal), (chunk) => Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Where in the memory of a keeper's codec the bytes lie that are to be kept. */
export const SOURCE = 65_536
const OUTPUT = SOURCE + BLOCK_SIZE
const TABLE = OUTPUT + 2 * BLOCK_SIZE

/** What `keepBlock` works with, in this thread. */
export function createKeeper({ blocks }: Store) {
  assert.ok(maxStoredSize(BLOCK_SIZE) <= 2 * BLOCK_SIZE)
  const codec = openCodec(createCodecMemory(TABLE + COMPRESS_TABLE_SIZE))
  return { blocks, codec, outputs: new Resources([OUTPUT]), table: TABLE }
}

/** All bytes of a disk; each block is compared with its name. */
export async function readDisk(store: Store, digest: string): Promise<Buffer> {
  await using manifest = await openManifest(store.manifests, digest)
  const bytes = Buffer.alloc(manifest.diskSize)
  for await (const { index, ...entry } of manifest.entries()) {
    const plain = decodeUnknown(await store.blocks.get(entry.digest))
    assert.equal(createHash('sha256').update(plain).digest('hex'), entry.digest)
    bytes.set(plain, index * BLOCK_SIZE)
  }
  return bytes
}

async function settle({ fixture: { clock, options }, jobs, library, fixture }: FaultWorld): Promise<void> {
  const { catalog } = options
  for (let step = 0; step < STEPS_MAX; step++) {
    await jobs.poll()
    await jobs.settled()
    await jobs.heartbeat()
    const images = await library.list(fixture.owner).catch(() => undefined)
    if (images?.every(isHonest) && !(await isBusy(catalog, images))) return
    assert.ok(
      images === undefined || images.every(isHonest),
      'progress of 100 % is said of what is available',
    )
    clock.at += STEP
  }
  const stuck = await library.list(fixture.owner)
  assert.fail(`something is stuck: ${stuck.map(({ id, status }) => `${id} ${status}`)}`)
}

const isHonest = ({ status, progress }: Image) =>
  progress?.percent !== 100 || !['creating', 'failed'].includes(status)

async function isBusy(catalog: LibraryFixture['options']['catalog'], images: readonly Image[]) {
  if (images.some(({ status }) => status === 'creating' || status === 'deleting')) return true
  return (
    (await catalog.jobs.list(['registration', 'snapshot'], '', 1)).length +
      (await catalog.jobs.list(['removal'], '', 1)).length >
    0
  )
}

async function empty(world: FaultWorld, guard: UploadGuard): Promise<void> {
  const { library, fixture, orbit, sound } = world
  world.faults.disarm()
  world.sources.clear()
  for (const image of await library.list(fixture.owner))
    if (image.status !== 'deleted') await library.destroy(fixture.owner, image.id)
  const place = { account: orbit.account, container: 'c' }
  for (const object of await orbit.names())
    await orbit.orbit.objects.remove(orbit.owner, { ...place, object })
  await world.settle()
  await guard.renew()
  fixture.clock.at += 120 * SECOND
  await world.collect()
  const left = [
    ...(await Array.fromAsync(sound.blocks.list())),
    ...(await Array.fromAsync(sound.manifests.list())),
  ]
  assert.deepEqual(left, [], 'nothing is left in the store')
  const pins = await fixture.options.catalog.pins.listManifests()
  assert.deepEqual(pins, [], 'no pin is left')
}

/** What an image's events must tell, whatever failed on the way. */
export async function assertTruth(
  { library, fixture, sound }: FaultWorld,
  id: string,
  bytes: Buffer,
): Promise<void> {
  const image = await library.show(fixture.owner, id)
  assert.equal(image.status, 'available', JSON.stringify(image.failure))
  assert.ok(image.manifest)
  assert.ok((await readDisk(sound, image.manifest)).equals(bytes), 'the image is what was registered')
  assert.equal(image.progress?.percent, 100)
  const actions = (await library.events(fixture.owner, id)).map(({ action }) => action)
  assert.equal(actions[0], 'image.registered')
  const ends = actions.filter((action) => ['image.available', 'image.failed'].includes(action))
  assert.deepEqual(ends, ['image.available'], 'an image becomes available once')
}

/** As a client does: what is unavailable is asked for again. */
export async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let count = 0; ; count++) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof LibraryError) || error.code !== 'unavailable' || count > 20) throw error
    }
  }
}
