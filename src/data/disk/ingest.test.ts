import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { Refusal } from '#base/refusal.ts'
import { openDisk } from '#data/form/disk-reader.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { Qcow2Writer } from '../../../test/support/qcow2-writer.ts'
import { createRandom, fillLikeDisk } from '../../../test/support/random-disk.ts'
import { needs } from '../../../test/support/tools.ts'
import { file, startWebServer, type WebServer } from '../../../test/support/web-server.ts'
import { createIngest } from './ingest-runner.ts'
import type { IngestProgress, IngestRequest } from './ingest-types.ts'
import { ownSource } from './own-source.fixtures.ts'

const MiB = 1024 * 1024
const seed = randomInt(2 ** 31)
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

function makeDisk(size: number): Buffer {
  const disk = Buffer.alloc(size)
  fillLikeDisk(disk, createRandom(seed))
  disk.subarray(2 * MiB, 4 * MiB).fill(0)
  return disk
}

describe(`ingest (seed ${seed})`, () => {
  let folder: string
  let server: WebServer

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingest-'))
    server = await startWebServer()
  })
  after(async () => {
    await server[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** A library's data plane of its own, empty. */
  async function openBench() {
    const data = await mkdtemp(join(folder, 'data-'))
    const [storePlace, spoolDirectory] = [join(data, 'store'), join(data, 'spool')]
    await mkdir(spoolDirectory)
    const ingest = createIngest({ storePlace, spoolDirectory, threads: 2 })
    const progress: IngestProgress[] = []
    return {
      storePlace,
      spoolDirectory,
      progress,
      run: (request: Partial<IngestRequest>, signal = new AbortController().signal) =>
        ingest(
          {
            source: { kind: 'http', url: server.url('/disk') },
            limits: DEFAULT_LIMITS,
            allowSource: ['127.0.0.0/8'],
            ...request,
          },
          { onProgress: (now) => progress.push(now), signal },
        ),
    }
  }

  async function readBack(storePlace: string, manifest: string): Promise<Uint8Array> {
    await using store = await openFilesystemStore(storePlace)
    await using disk = await openDisk(store, manifest)
    const pieces: Uint8Array[] = []
    for await (const piece of disk.stream(0, disk.size, new AbortController().signal))
      pieces.push(piece.slice())
    return Buffer.concat(pieces)
  }

  const refused = (category: string) => (error: unknown) =>
    error instanceof Refusal && error.category === category

  test('a raw disk of our own reads back, padded to a whole sector', async () => {
    const bench = await openBench()
    const disk = makeDisk(5 * MiB + 700)
    const result = await bench.run({ source: ownSource(disk) })
    assert.equal(result.virtualSize, 5 * MiB + 1024)
    assert.equal(result.source.sha256, sha256(disk))
    assert.match(result.notes.join(), /padded with zeros/)
    const back = await readBack(bench.storePlace, result.manifest)
    assert.deepEqual(Buffer.from(back), Buffer.concat([disk, Buffer.alloc(324)]))
  })

  test('the same disk has the same manifest in whatever form it comes, and adds nothing the second time', async () => {
    const bench = await openBench()
    const disk = makeDisk(6 * MiB)
    server.on('/disk', file(disk))
    const first = await bench.run({})
    assert.equal(first.formatChain, 'raw')
    assert.ok(first.addedSize > 0)
    assert.equal(bench.progress.at(-1)?.phase, 'saving')
    const qcow2 = new Qcow2Writer({ size: disk.length })
    for (let cluster = 0; cluster < disk.length / 65536; cluster++) {
      const bytes = disk.subarray(cluster * 65536, (cluster + 1) * 65536)
      if (cluster % 2 === 0) qcow2.data(cluster, bytes)
      else qcow2.packDeflated(cluster, bytes)
    }
    for (const [chain, bytes] of [
      ['gzip+raw', gzipSync(disk)],
      ['zstd+raw', zstdCompressSync(disk)],
      ['qcow2', qcow2.build()],
      ['gzip+qcow2', gzipSync(qcow2.build())],
    ] as const) {
      server.on('/disk', file(bytes))
      const again = await bench.run({})
      assert.equal(again.formatChain, chain)
      assert.equal(again.manifest, first.manifest, chain)
      assert.equal(again.addedSize, 0, chain)
    }
  })

  test('bytes with another checksum than the one asked for leave no manifest', async () => {
    const bench = await openBench()
    server.on('/disk', file(makeDisk(MiB)))
    await assert.rejects(bench.run({ expectedSha256: 'ab'.repeat(32) }), refused('checksum'))
    await using store = await openFilesystemStore(bench.storePlace)
    assert.deepEqual(await Array.fromAsync(store.manifests.list()), [])
  })

  test('the right checksum is accepted in either case', async () => {
    const bench = await openBench()
    const disk = makeDisk(MiB)
    server.on('/disk', file(disk))
    await bench.run({ expectedSha256: sha256(disk).toUpperCase() })
  })

  test('a registration that is stopped while it waits for bytes ends at once and leaves no spool', async () => {
    const bench = await openBench()
    const disk = new Qcow2Writer({ size: 64 * MiB }).tablesFirst()
    disk.data(0, makeDisk(65536))
    disk.data(900, makeDisk(65536))
    const bytes = disk.build()
    server.on('/disk', file(bytes, { stopAfter: bytes.length - 65536 }))
    const stopping = new AbortController()
    const reason = new Error('destroyed')
    const running = bench.run({}, stopping.signal)
    const waiting = setInterval(() => {
      if (bench.progress.some(({ received }) => received > 0)) stopping.abort(reason)
    }, 10)
    await assert.rejects(running, (error) => error === reason)
    clearInterval(waiting)
    assert.deepEqual(await readdir(bench.spoolDirectory), [])
  })

  test('a broken cluster ends a registration although the rest of its file never comes', async () => {
    const bench = await openBench()
    const image = new Qcow2Writer({ size: 64 * MiB }).tablesFirst()
    image.pack(0, new Uint8Array(4096).fill(0xff))
    image.data(900, makeDisk(65536))
    const bytes = image.build()
    server.on('/disk', file(bytes, { stopAfter: bytes.length - 65536 }))
    await assert.rejects(bench.run({}), refused('bad-cluster'))
  })

  test('an image inside the image is refused', async () => {
    const bench = await openBench()
    const inner = Buffer.alloc(65536)
    inner.write('QFI\xfb', 'latin1')
    const image = new Qcow2Writer({ size: MiB })
    image.data(0, inner)
    server.on('/disk', file(image.build()))
    await assert.rejects(bench.run({}), refused('nested'))
    server.on('/disk', file(gzipSync(gzipSync(makeDisk(MiB)))))
    await assert.rejects(bench.run({}), refused('nested'))
  })

  test('a disk over the limit is refused, told or not', async () => {
    const bench = await openBench()
    const limits = { ...DEFAULT_LIMITS, virtualSize: 2 * MiB }
    server.on('/disk', file(makeDisk(3 * MiB)))
    await assert.rejects(bench.run({ limits }), refused('too-large'))
    server.on('/disk', file(gzipSync(makeDisk(3 * MiB))))
    await assert.rejects(bench.run({ limits }), refused('too-large'))
  })

  test(
    'a block that cannot be stored fails a registration from xz blocks with the reason',
    needs('xz'),
    async () => {
      const bench = await openBench()
      for (let fan = 0; fan < 256; fan++) {
        const name = fan.toString(16).padStart(2, '0')
        await mkdir(join(bench.storePlace, 'blocks'), { recursive: true })
        await writeFile(join(bench.storePlace, 'blocks', name), 'in the way')
      }
      const packed = spawnSync('xz', ['-c', '-0', '-T2', '--block-size=4MiB'], {
        input: makeDisk(16 * MiB),
        maxBuffer: 32 * MiB,
      })
      server.on('/disk', file(packed.stdout))
      await assert.rejects(bench.run({}), { name: 'LibraryError', code: 'unavailable' })
    },
  )

  test('a store that cannot be written to fails the registration, not the process', async () => {
    const bench = await openBench()
    await mkdir(bench.storePlace, { recursive: true })
    await rm(join(bench.storePlace, 'blocks'), { recursive: true, force: true })
    await writeFile(join(bench.storePlace, 'blocks'), 'in the way')
    server.on('/disk', file(makeDisk(3 * MiB)))
    await assert.rejects(bench.run({}), (error) => error instanceof Error && !(error instanceof Refusal))
  })
})
