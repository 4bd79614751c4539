import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { GiB, KiB, MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { Refusal, type RefusalCategory } from '#base/refusal.ts'
import { openDisk } from '#data/form/disk-reader.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import type { Store } from '#data/store/store.ts'
import { createLayer } from '#data/volume/create-layer.ts'
import { type Chain, chainName, run, writeTo } from '#data/volume/volume.fixtures.ts'
import { createRandom, fillLikeDisk } from '../../../test/support/random-disk.ts'
import { needs } from '../../../test/support/tools.ts'
import { ingest } from './ingest.ts'
import { createIngest } from './ingest-runner.ts'
import type { IngestProgress, IngestResult, VolumeSource } from './ingest-types.ts'
import { ownSource } from './own-source.fixtures.ts'

const seed = randomInt(2 ** 31)
const never = new AbortController().signal
const refused = (category: RefusalCategory) => (error: unknown) =>
  error instanceof Refusal && error.category === category
const isError = (code: string) => (error: unknown) => error instanceof LibraryError && error.code === code

/** A store that knows how many blocks were asked of it. */
function counting(store: Store): { store: Store; reads: () => number } {
  let reads = 0
  const { blocks, manifests } = store
  return {
    reads: () => reads,
    store: {
      ...store,
      manifests,
      blocks: {
        claim: (digest) => blocks.claim(digest),
        sizeOf: (digest) => blocks.sizeOf(digest),
        put: (digest, bytes) => blocks.put(digest, bytes),
        mend: (digest, bytes) => blocks.mend(digest, bytes),
        remove: (digest, since) => blocks.remove(digest, since),
        list: () => blocks.list(),
        quarantine: (digest) => blocks.quarantine(digest),
        get(digest) {
          reads++
          return blocks.get(digest)
        },
        readInto(digest, target) {
          reads++
          return blocks.readInto(digest, target)
        },
      },
      sync: (only) => store.sync(only),
      [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
    },
  }
}

describe(`ingest of volumes (seed ${seed})`, needs('qemu-img', 'qemu-io'), () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingest-volume-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** An image that is registered, and a server's layers over it. */
  async function openBench(image: Uint8Array, size: number, layerCount = 1) {
    const data = await mkdtemp(join(folder, 'data-'))
    const [storePlace, spoolDirectory] = [join(data, 'store'), join(data, 'spool')]
    await mkdir(spoolDirectory)
    const base = join(data, 'base.raw')
    await writeFile(base, image)
    const inThread = createIngest({ storePlace, spoolDirectory, threads: 2 })
    const common = { limits: DEFAULT_LIMITS, allowSource: [] }
    const ancestor = await inThread(
      { source: ownSource(image), ...common },
      { onProgress: () => {}, signal: never },
    )
    // QEMU ends a raw file at a sector, too, but reads no zeros past it unless told how long it is.
    await truncate(base, size)
    const chain: Chain & { layers: string[] } = { base, layers: [] }
    for (let layer = 0; layer < layerCount; layer++) await addLayer()
    async function addLayer() {
      const path = join(data, `layer-${chain.layers.length}.qcow2`)
      await createLayer(path, size)
      chain.layers.push(path)
    }
    const progress: IngestProgress[] = []
    const source = (change: Partial<VolumeSource> = {}): VolumeSource => ({
      kind: 'volume',
      size,
      base: { manifest: ancestor.manifest },
      layers: chain.layers,
      dataLimit: GiB,
      ...change,
    })
    return {
      data,
      storePlace,
      ancestor,
      chain,
      progress,
      addLayer,
      run: (change: Partial<VolumeSource> = {}, signal = never) =>
        inThread({ source: source(change), ...common }, { onProgress: (now) => progress.push(now), signal }),
      /** In this thread, telling how many blocks were read. */
      async count(): Promise<{ result: IngestResult; reads: number }> {
        await using opened = await openFilesystemStore(storePlace)
        const { store, reads } = counting(opened)
        const deps = {
          store,
          storePlace,
          writer: '',
          spoolDirectory,
          threads: 1,
          decoders: '',
          reserve: undefined,
          signal: never,
        }
        const result = await ingest({ source: source(), ...common }, { ...deps, onProgress: () => {} })
        return { result, reads: reads() }
      },
      /** The disk as QEMU reads it. */
      async expected(): Promise<Buffer> {
        const flat = join(data, 'flat.raw')
        run('qemu-img', 'convert', '-O', 'raw', chainName(chain), flat)
        return await readFile(flat)
      },
      async readBack(manifest: string): Promise<Buffer> {
        await using store = await openFilesystemStore(storePlace)
        await using disk = await openDisk(store, manifest)
        const pieces: Uint8Array[] = []
        for await (const piece of disk.stream(0, disk.size, never)) pieces.push(piece.slice())
        return Buffer.concat(pieces)
      },
    }
  }

  function makeImage(size: number): Buffer {
    const image = Buffer.alloc(size)
    fillLikeDisk(image, createRandom(seed))
    image.subarray(2 * MiB, 4 * MiB).fill(0)
    return image
  }

  /** Whether two disks are the same, without printing them. */
  function assertSame(actual: Buffer, expected: Buffer): void {
    assert.equal(actual.length, expected.length)
    for (let at = 0; at < actual.length; at += 64 * KiB) {
      const end = Math.min(at + 64 * KiB, actual.length)
      assert.ok(actual.subarray(at, end).equals(expected.subarray(at, end)), `differs from ${at} on`)
    }
  }

  test('a volume that nobody wrote to is its image, of which no block is read', async () => {
    const bench = await openBench(makeImage(6 * MiB), 6 * MiB)
    const { result, reads } = await bench.count()
    assert.equal(result.manifest, bench.ancestor.manifest)
    assert.equal(result.dataSize, bench.ancestor.dataSize)
    assert.equal(result.addedSize, 0)
    assert.equal(reads, 0)
    assert.equal(result.formatChain, 'volume')
    assert.deepEqual(result.source, {
      url: undefined,
      finalUrl: undefined,
      bytes: 6 * MiB,
      sha256: undefined,
      etag: undefined,
      lastModified: undefined,
    })
  })

  test('only blocks that were changed in part are read, and only they are added', async () => {
    const bench = await openBench(makeImage(40 * MiB), 40 * MiB, 2)
    const lower = { ...bench.chain, layers: bench.chain.layers.slice(0, 1) }
    writeTo(lower, 'write -P 1 5M 4k', 'write -P 2 10M 1M')
    writeTo(bench.chain, 'write -P 3 20M 64k', 'discard 30M 1M')
    const { result, reads } = await bench.count()
    assert.equal(reads, 2, 'blocks 5 and 20; 10 and 30 are covered')
    assert.equal(result.dataSize, bench.ancestor.dataSize - MiB)
    assert.ok(result.addedSize <= 2 * MiB + 64 * KiB, `${result.addedSize} bytes were added`)
    assertSame(await bench.readBack(result.manifest), await bench.expected())
  })

  test('a large disk whose guest discarded all of it is zeros, and not looked at block by block', async () => {
    const size = 24 * GiB
    const bench = await openBench(makeImage(4 * MiB), size)
    writeTo(bench.chain, ...Array.from({ length: 24 }, (_, index) => `discard ${index}G 1G`))
    const { result, reads } = await bench.count()
    assert.deepEqual([result.dataSize, result.addedSize, reads], [0, 0, 0])
    await using store = await openFilesystemStore(bench.storePlace)
    await using disk = await openDisk(store, result.manifest)
    assert.equal(disk.size, size)
  })

  test('a disk larger than its image goes on with zeros, in the middle of a block too', async () => {
    const image = makeImage(5 * MiB + 3 * 512)
    image.fill(9, 5 * MiB)
    const bench = await openBench(image, 9 * MiB + 512)
    const { result, reads } = await bench.count()
    assert.equal(reads, 1, 'the last block of the image')
    assert.equal(result.virtualSize, 9 * MiB + 512)
    assertSame(await bench.readBack(result.manifest), await bench.expected())
    writeTo(bench.chain, 'write -P 4 5M 512', `write -P 5 ${9 * MiB} 512`, 'write -P 6 7M 4k')
    const after = await bench.run()
    assertSame(await bench.readBack(after.manifest), await bench.expected())
  })

  test('a base that is a file gives the same manifest, whole or cut short', async () => {
    const bench = await openBench(makeImage(5 * MiB + 512), 8 * MiB + 512)
    writeTo(bench.chain, 'write -P 4 1M 192k', 'write -P 5 6M 64k')
    const { manifest } = await bench.run()
    const base = { file: bench.chain.base ?? '' }
    assert.equal((await bench.run({ base })).manifest, manifest)
    await truncate(base.file, 5 * MiB + 512)
    assert.equal((await bench.run({ base })).manifest, manifest)
  })

  test('progress knows the disk’s size and reaches it', async () => {
    const bench = await openBench(makeImage(6 * MiB), 7 * MiB + 512)
    writeTo(bench.chain, 'write -P 1 0 4k')
    await bench.run()
    const last = bench.progress.at(-1)
    assert.deepEqual(
      [last?.phase, last?.received, last?.total, last?.decoded, last?.virtualSize],
      ['saving', 7 * MiB + 512, 7 * MiB + 512, 7 * MiB + 512, 7 * MiB + 512],
    )
  })

  test('a disk with more data than it may have is refused, both sizes named', async () => {
    const bench = await openBench(makeImage(12 * MiB), 12 * MiB)
    await assert.rejects(bench.run({ dataLimit: 5 * MiB }), (error) => {
      assert.ok(refused('too-large')(error))
      assert.match(String(error), new RegExp(`${6 * MiB} bytes and more, ${5 * MiB} is the limit`))
      return true
    })
    const { dataSize } = bench.ancestor
    writeTo(bench.chain, 'write -P 1 2M 4k')
    assert.equal((await bench.run({ dataLimit: dataSize + MiB })).dataSize, dataSize + MiB)
    await assert.rejects(bench.run({ dataLimit: dataSize + MiB - 1 }), refused('too-large'))
  })

  test('a layer for another size, a missing one and a link in its place are refused', async () => {
    const bench = await openBench(makeImage(2 * MiB), 2 * MiB)
    const other = join(bench.data, 'other')
    await createLayer(other, MiB)
    await assert.rejects(bench.run({ layers: [other] }), refused('size-mismatch'))
    await assert.rejects(bench.run({ layers: [join(bench.data, 'none')] }), isError('not_found'))
    const link = join(bench.data, 'link')
    await symlink(other, link)
    await assert.rejects(bench.run({ layers: [link] }), isError('invalid'))
    await assert.rejects(bench.run({ base: { file: link } }), isError('invalid'))
    await assert.rejects(bench.run({ base: { manifest: 'ab'.repeat(32) } }), isError('not_found'))
  })

  test('a damaged block of the image is found where it is read, and left alone where not', async () => {
    const bench = await openBench(makeImage(6 * MiB), 6 * MiB)
    await using store = await openFilesystemStore(bench.storePlace)
    for await (const { digest } of store.blocks.list()) await store.blocks.quarantine(digest)
    assert.equal((await bench.run()).manifest, bench.ancestor.manifest)
    writeTo(bench.chain, 'write -P 1 0 4k')
    await assert.rejects(bench.run(), isError('corrupt'))
  })

  test('a volume that is stopped ends with the reason given', async () => {
    const bench = await openBench(makeImage(6 * MiB), 6 * MiB)
    const stopping = new AbortController()
    const reason = new Error('destroyed')
    const running = bench.run({}, stopping.signal)
    stopping.abort(reason)
    await assert.rejects(running, (error) => error === reason)
  })

  test('a header that the guest wrote on its disk is data', async () => {
    const bench = await openBench(makeImage(2 * MiB), 2 * MiB)
    const [layer = ''] = bench.chain.layers
    const header = join(bench.data, 'header')
    await writeFile(header, (await readFile(layer)).subarray(0, 512))
    writeTo(bench.chain, `write -s ${header} 0 512`)
    const { manifest, notes } = await bench.run()
    assert.deepEqual(notes, [])
    assertSame(await bench.readBack(manifest), await bench.expected())
  })

  test('random writes, zeros and discards through a chain read as QEMU reads them', async () => {
    const random = createRandom(seed)
    const size = 12 * MiB + 512 * Math.floor(random() * 2048)
    const sectors = size / 512
    const bench = await openBench(makeImage(7 * MiB + 512 * Math.floor(random() * 2048)), size)
    for (let layer = 0; layer < 4; layer++) {
      if (layer > 0) await bench.addLayer()
      const commands = Array.from({ length: 30 }, () => {
        const start = Math.floor(random() * sectors)
        const most = random() < 0.3 ? 4096 : 300
        const length = Math.min(1 + Math.floor(random() * most), sectors - start)
        const place = `${start * 512} ${length * 512}`
        const kind = random()
        if (kind < 0.6) return `write -P ${1 + Math.floor(random() * 255)} ${place}`
        if (kind < 0.8) return `write -z ${random() < 0.5 ? '-u ' : ''}${place}`
        return `discard ${place}`
      })
      writeTo(bench.chain, ...commands)
      const { manifest } = await bench.run()
      assertSame(await bench.readBack(manifest), await bench.expected())
      const fromFile = await bench.run({ base: { file: bench.chain.base ?? '' } })
      assert.equal(fromFile.manifest, manifest)
    }
  })
})
