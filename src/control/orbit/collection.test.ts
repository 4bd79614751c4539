import assert from 'node:assert/strict'
import { createHash, randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { MiB } from '#base/bytes.ts'
import { Ledger } from '#base/ledger.ts'
import { ReaderPins } from '#control/library/pins.ts'
import { readRoots } from '#control/library/roots.ts'
import { createUploadSeats } from '#control/library/upload-seats.ts'
import { createContentStore } from '#data/content/create-content-store.ts'
import { collect } from '#data/disk/collect.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import type { ObjectPath } from '#model/orbit.ts'
import { openTestCatalog } from '../../../test/support/catalogs.ts'
import { createRandom } from '../../../test/support/random-disk.ts'
import { createClock } from './clock.ts'
import { createOrbit } from './create-orbit.ts'
import { addCaller, EVERYTHING, PLAIN } from './orbit.fixtures.ts'
import { OrbitRefusal } from './orbit.ts'
import { UploadGuard } from './upload-guard.ts'

const MS = 4000
const ACTORS = 6
const CONTAINERS = ['a', 'versioned', 'archive']
const { signal } = new AbortController()

/** Orbit over real files, with what keeps collection from what is in use. */
async function openStored(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'collection-'))
  const opened = new AsyncDisposableStack()
  t.after(() => opened.disposeAsync())
  opened.defer(() => rm(folder, { recursive: true, force: true }))
  const store = opened.use(await openFilesystemStore(folder, { exclusive: true }))
  const catalog = opened.use(await openTestCatalog())
  const guard = opened.use(new UploadGuard({ catalog, holder: 'one', now: Date.now, generations: store }))
  const pins = opened.use(new ReaderPins({ catalog, holder: 'one', now: Date.now }))
  const keep = () => guard.keep()
  const places = { storePlace: folder, spoolDirectory: folder, store }
  const contents = opened.use(createContentStore({ ...places, threads: 2, reserve: 0, keep }))
  const orbit = createOrbit({
    catalog,
    contents,
    acquirePins: (manifests) => pins.acquire(manifests),
    keep,
    now: createClock(Date.now),
    quota: undefined,
    seats: createUploadSeats(512),
    promised: new Ledger(),
    reserve: { promise: () => new Ledger().take([]) },
    bytesOfImages: async () => 0,
  })
  const caller = await addCaller(catalog)
  const account = caller.session?.accountId ?? ''
  for (const container of CONTAINERS)
    await orbit.containers.put(caller, { account, container }, { metadata: {} })
  const versions = { mode: 'stack', container: 'archive' } as const
  await orbit.containers.update(caller, { account, container: 'versioned' }, { metadata: {}, versions })
  return {
    ...{ orbit, contents, caller, account },
    /** @returns how many blocks it took */
    async collect(): Promise<number> {
      await guard.renew()
      const { unclaimedSince, manifests } = await readRoots({ catalog, now: Date.now, generations: store })
      return (await collect({ store, roots: manifests, unclaimedSince, signal })).blocksRemoved
    },
  }
}

/** What somebody may do with a few objects, wherever they are. */
function actionsOn(
  { orbit, contents, caller, account }: Awaited<ReturnType<typeof openStored>>,
  below: (bound: number) => number,
) {
  /** Few, so that objects share blocks. */
  const blocks = Array.from({ length: 12 }, (_, index) => Buffer.alloc(MiB, `block ${index}`))
  const somewhere = (): ObjectPath => {
    return { account, container: below(2) === 0 ? 'a' : 'versioned', object: `o${below(5)}` }
  }
  async function read(path: ObjectPath, pauseMs = 0): Promise<void> {
    await using located = await orbit.objects.locate(caller, path)
    await using reader = await contents.openReader(located.parts)
    await setTimeout(pauseMs)
    const md5 = createHash('md5')
    for await (const chunk of reader.read(0, reader.size, signal)) md5.update(chunk)
    assert.equal(md5.digest('hex'), located.info.etag)
  }
  /** Long enough for the object to go, and for its blocks to be taken where nobody pins them. */
  const readSlowly = () => read(somewhere(), below(300))
  async function put(): Promise<void> {
    await using upload = await orbit.objects.beginPut(caller, somewhere(), { attributes: PLAIN, signal })
    for (let left = below(3); left >= 0; left--) await upload.write(blocks[below(blocks.length)] as Buffer)
    await setTimeout(below(20))
    if (below(6) > 0) await upload.finish()
  }
  async function edit(): Promise<void> {
    const path = somewhere()
    await using located = await orbit.objects.locate(caller, path)
    await using editor = await contents.openEditor(located.parts[0]?.content, { signal })
    await editor.write(below(editor.size + MiB), Buffer.alloc(1 + below(5000), 'edited'))
    await setTimeout(below(20))
    await orbit.objects.publish(caller, path, PLAIN, await editor.finish())
  }
  const all: readonly (() => Promise<unknown>)[] = [
    ...[put, put, edit, readSlowly, readSlowly],
    () => orbit.objects.copy(caller, somewhere(), somewhere(), { attributes: PLAIN, signal }),
    () => orbit.objects.rename(caller, somewhere(), somewhere(), { replace: true }),
    () => orbit.objects.remove(caller, somewhere()),
  ]
  return { read, one: () => all[below(all.length)]?.() }
}

test('collection: takes nothing of objects that come, change, move and go meanwhile', async (t) => {
  const seed = randomInt(2 ** 31)
  t.diagnostic(`seed ${seed}`)
  const random = createRandom(seed)
  const stored = await openStored(t)
  const { orbit, caller, account } = stored
  const actions = actionsOn(stored, (bound) => Math.floor(random() * bound))
  const end = performance.now() + MS
  async function repeat(action: () => Promise<unknown> | undefined): Promise<void> {
    while (performance.now() < end) {
      try {
        await action()
      } catch (error) {
        // What is not there any more, or has just become another.
        const isFine = error instanceof OrbitRefusal && ['not_found', 'conflict'].includes(error.kind)
        if (!isFine) throw error
      }
    }
  }
  let taken = 0
  const collecting = repeat(async () => {
    taken += await stored.collect()
  })
  await Promise.all([collecting, ...Array.from({ length: ACTORS }, () => repeat(actions.one))])
  assert.ok(taken > 0, 'there was something to take')
  for (const container of CONTAINERS) {
    const { rows } = await orbit.containers.list(caller, { account, container }, EVERYTHING)
    for (const { name } of rows) await actions.read({ account, container, object: name })
  }
})
