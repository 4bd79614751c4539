import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ImportLimits } from '#base/limits.ts'
import { openLibrary } from '#control/library/library.fixtures.ts'
import type { RegisterAttributes } from '#control/library/library.ts'
import { collect } from '#data/disk/collect.ts'
import { ingest } from '#data/disk/ingest.ts'
import { openDisk } from '#data/form/disk-reader.ts'
import { createDecoderHost } from '#data/native/decoder-host.ts'
import { parseSourceUrl, redactUrl } from '#data/source/source-url.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import type { ShownImage } from '#model/shown-image.ts'

/** As long as the longest pause between two attempts. */
const PAUSE_MS = 3600_000
/** More than a registration has attempts. */
const ROUNDS = 8

/** A library without edges that really downloads, into a folder of its own, and skips the pauses between attempts. */
export interface Imports extends AsyncDisposable {
  /** Refuses what the API refuses; gives the image's id. */
  register(url: string, more?: Partial<RegisterAttributes>): Promise<string>
  /** Lets all registrations come to their end, and fails where one does not. */
  settle(): Promise<void>
  show(id: string): Promise<ShownImage>
  /** SHA-256 of an available image's disk. */
  digest(image: ShownImage): Promise<string>
  /** Destroys all images and checks that a collection leaves no byte. */
  assertNothingLeft(): Promise<void>
}

export async function openImports(limits: ImportLimits, concurrency = 4): Promise<Imports> {
  await using opened = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'imports-'))
  opened.defer(() => rm(folder, { recursive: true, force: true }))
  const [storePlace, spoolDirectory] = [join(folder, 'store'), join(folder, 'spool')]
  await mkdir(spoolDirectory)
  const store = opened.use(await openFilesystemStore(storePlace))
  let begun = 0
  const fixture = opened.use(
    await openLibrary({
      async ingest(request, options) {
        begun++
        const host = createDecoderHost(spoolDirectory)
        return ingest(request, {
          ...options,
          store,
          storePlace,
          writer: '',
          spoolDirectory,
          reserve: undefined,
          threads: 1,
          decoders: host.address,
        }).finally(() => host.close())
      },
      parseSourceUrl,
      redactUrl,
      limits,
      allowSource: ['127.0.0.1/32'],
      // The last place is kept for an account that has none.
      registrations: { concurrency: concurrency + 1, perAccount: concurrency + 1 },
    }),
  )
  const { library, owner, clock, options } = fixture
  const ids: string[] = []
  const show = (id: string) => library.show(owner, id)
  /** Until nothing runs, nor could. */
  const idle = async () => {
    for (let before = -1; before !== begun; ) {
      before = begun
      await options.jobs.poll()
      await options.jobs.settled()
    }
  }
  const closing = opened.move()
  return {
    async register(url, more = {}) {
      const { id } = await library.register(owner, { httpUrl: url, arch: 'x86_64', ...more })
      ids.push(id)
      return id
    },
    async settle() {
      for (let round = 0; ; round++) {
        await idle()
        const images = await Promise.all(ids.map(show))
        const stuck = images.filter(({ status }) => status === 'creating')
        if (stuck.length === 0) return
        assert.ok(round < ROUNDS, `stuck: ${JSON.stringify(stuck)}`)
        clock.at += PAUSE_MS
      }
    },
    show,
    async digest({ manifest }) {
      await using disk = await openDisk(store, manifest ?? '')
      const sum = createHash('sha256')
      for await (const piece of disk.stream(0, disk.size, new AbortController().signal)) sum.update(piece)
      return sum.digest('hex')
    },
    async assertNothingLeft() {
      for (const id of ids.splice(0)) await library.destroy(owner, id)
      for (let round = 0; (await library.list(owner)).length > 0; round++) {
        assert.ok(round < 1000, 'images that cannot be destroyed')
        clock.at += PAUSE_MS
        await idle()
      }
      const { manifests } = await library.operator.roots()
      const signal = new AbortController().signal
      // Nothing runs, so all that was ever written may go.
      await collect({ store, roots: manifests, unclaimedSince: Date.now() + 60_000, signal })
      assert.deepEqual(await Array.fromAsync(store.blocks.list()), [], 'blocks')
      assert.deepEqual(await Array.fromAsync(store.manifests.list()), [], 'manifests')
      assert.deepEqual(await readdir(spoolDirectory), [], 'spool')
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}
