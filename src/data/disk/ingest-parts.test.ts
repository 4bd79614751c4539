import assert from 'node:assert/strict'
import { createHash, randomInt } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import type { Part } from '#base/content.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { Refusal } from '#base/refusal.ts'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { createRandom as createChoice } from '#data/codec/codec.fixtures.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import type { Store } from '#data/store/store.ts'
import { Qcow2Writer } from '../../../test/support/qcow2-writer.ts'
import { createRandom, fillLikeDisk } from '../../../test/support/random-disk.ts'
import { storeDisk } from '../../../test/support/store-disk.ts'
import { createIngest } from './ingest-runner.ts'
import type { IngestRequest, OwnSource } from './ingest-types.ts'
import { ownSource } from './own-source.fixtures.ts'

const MiB = 1024 * 1024
const seed = randomInt(2 ** 31)
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Bytes in the store, as an object has them. */
function storeBytes(store: Store, bytes: Uint8Array): Promise<string> {
  const block = (index: number) => {
    const plain = bytes.subarray(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE)
    return plain.some((byte) => byte !== 0) ? plain : undefined
  }
  return storeDisk(store, { size: bytes.length, block })
}

const whole = (manifest: string, size: number): Part => ({
  content: { kind: 'manifest', manifest, form: 'raw', size },
  offset: 0,
  length: size,
})

function makeDisk(size: number): Buffer {
  const disk = Buffer.alloc(size)
  fillLikeDisk(disk, createRandom(seed))
  disk.subarray(2 * MiB, 4 * MiB).fill(0)
  return disk
}

describe(`ingest of objects (seed ${seed})`, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ingest-parts-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** A library's data plane of its own. */
  async function openBench() {
    const data = await mkdtemp(join(folder, 'data-'))
    const [storePlace, spoolDirectory] = [join(data, 'store'), join(data, 'spool')]
    await mkdir(spoolDirectory)
    const store = await openFilesystemStore(storePlace)
    const ingest = createIngest({ storePlace, spoolDirectory, threads: 2 })
    const run = (source: IngestRequest['source'], request: Partial<IngestRequest> = {}) =>
      ingest(
        { source, limits: DEFAULT_LIMITS, allowSource: [], ...request },
        { onProgress: () => {}, signal: new AbortController().signal },
      )
    const own = (parts: readonly Part[], disk?: string): OwnSource => ({
      kind: 'parts',
      parts,
      disk,
      url: 'http://h/v1/acc-12345/c/o',
      etag: '"e"',
      lastModified: 'Mon, 23 Nov 2026 03:43:47 GMT',
    })
    return { store, run, own }
  }

  /** What the same bytes come to where they are read. */
  async function ingestRead(bytes: Uint8Array, request: Partial<IngestRequest> = {}) {
    const { run } = await openBench()
    return run(ownSource(bytes), request)
  }

  const categoryOf = (promise: Promise<unknown>) =>
    promise.then(
      () => 'accepted',
      (error) => (error instanceof Refusal ? error.category : String(error)),
    )

  test('a raw disk becomes the image as it lies there, with the facts that reading it gives', async () => {
    for (const size of [5 * MiB, 5 * MiB + 512, 512, 3 * MiB]) {
      const bytes = makeDisk(size)
      const { store, run, own } = await openBench()
      const manifest = await storeBytes(store, bytes)
      const result = await run(own([whole(manifest, size)], manifest))
      const { source, addedSize, notes, ...facts } = await ingestRead(bytes)
      assert.deepEqual({ ...result, ...facts }, result)
      assert.deepEqual([result.addedSize, result.source.sha256], [0, undefined])
      assert.deepEqual(result.notes.slice(0, -1), notes)
      assert.match(result.notes.at(-1) ?? '', /not read or written again/)
      assert.deepEqual([result.source.bytes, source.bytes, result.source.etag], [size, size, '"e"'])
      assert.equal(
        addedSize > 0,
        bytes.some((byte) => byte !== 0),
      )
    }
  })

  test('nothing but head and tail of it is read: a block in between may be damaged', async () => {
    const bytes = makeDisk(9 * MiB)
    const { store, run, own } = await openBench()
    const manifest = await storeBytes(store, bytes)
    const middle = sha256(bytes.subarray(6 * MiB, 7 * MiB))
    await store.blocks.remove(middle, Date.now() + 1000)
    assert.equal((await run(own([whole(manifest, bytes.length)], manifest))).manifest, manifest)
    const read = run(own([whole(manifest, bytes.length)]))
    await assert.rejects(read, { name: 'LibraryError', code: 'corrupt' })
  })

  test('a checksum that is demanded makes it read, and refuses other bytes', async () => {
    const bytes = makeDisk(5 * MiB)
    const { store, run, own } = await openBench()
    const manifest = await storeBytes(store, bytes)
    const source = own([whole(manifest, bytes.length)], manifest)
    const result = await run(source, { expectedSha256: sha256(bytes) })
    assert.deepEqual([result.manifest, result.source.sha256, result.addedSize], [manifest, sha256(bytes), 0])
    assert.equal(await categoryOf(run(source, { expectedSha256: '0'.repeat(64) })), 'checksum')
  })

  test('every format is read from parts with offsets as from one file', async () => {
    const disk = makeDisk(6 * MiB + 512)
    const random = createChoice(seed + 1)
    const qcow2 = new Qcow2Writer({ size: disk.length })
    for (let offset = 0; offset < disk.length; offset += 65_536) {
      const cluster = disk.subarray(offset, offset + 65_536)
      if (cluster.some((byte) => byte !== 0)) qcow2.data(offset / 65_536, cluster)
    }
    const sources = { raw: disk, gzip: gzipSync(disk), zstd: zstdCompressSync(disk), qcow2: qcow2.build() }
    for (const [name, bytes] of Object.entries(sources)) {
      const { store, run, own } = await openBench()
      const parts: Part[] = []
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(bytes.length - at, 1 + random.below(random.below(10) < 3 ? 2000 : 3 * MiB))
        const before = random.below(1000)
        const padded = Buffer.concat([
          Buffer.alloc(before, 1),
          bytes.subarray(at, at + length),
          Buffer.from('x'),
        ])
        const content: Part['content'] =
          length < 2000
            ? { kind: 'inline', bytes: padded }
            : {
                kind: 'manifest',
                manifest: await storeBytes(store, padded),
                form: 'raw',
                size: padded.length,
              }
        parts.push({ content, offset: before, length })
        at += length
      }
      const result = await run(own(parts))
      const expected = await ingestRead(bytes)
      assert.equal(result.manifest, expected.manifest, name)
      assert.equal(result.formatChain, expected.formatChain, name)
      assert.equal(result.source.sha256, sha256(bytes), name)
    }
  })

  test("an image's LZ4 frame is a source too", async () => {
    const disk = makeDisk(5 * MiB)
    const { store, run, own } = await openBench()
    const manifest = await storeBytes(store, disk)
    const { openForm } = await import('#data/form/form.ts')
    await using form = await openForm(store, manifest, 'lz4')
    const content = { kind: 'manifest', manifest, form: 'lz4', size: form.size } as const
    const result = await run(own([{ content, offset: 0, length: form.size }]))
    assert.deepEqual([result.manifest, result.formatChain, result.addedSize], [manifest, 'lz4+raw', 0])
  })

  test('what is no raw disk of whole sectors is read, or refused as from anywhere else', async () => {
    const bytesOf = (text: string, size: number) => {
      const bytes = Buffer.alloc(size)
      bytes.write(text, 'latin1')
      return bytes
    }
    const tail = makeDisk(3 * MiB)
    tail.write('conectix', tail.length - 512, 'latin1')
    const long = makeDisk(3 * MiB)
    const cases: [string, Buffer, Partial<IngestRequest>?][] = [
      ['accepted', makeDisk(3 * MiB + 700)],
      ['accepted', gzipSync(makeDisk(3 * MiB))],
      ['not-an-image', Buffer.from('<html>'.padEnd(1024, 'x'))],
      ['unsupported-format', bytesOf('KDMV', 64 * 1024)],
      ['unsupported-format', tail],
      ['truncated', gzipSync(makeDisk(3 * MiB)).subarray(0, 2048)],
      ['too-large', long, { limits: { ...DEFAULT_LIMITS, virtualSize: 2 * MiB } }],
      ['too-large', long, { limits: { ...DEFAULT_LIMITS, sourceSize: 2 * MiB } }],
    ]
    for (const [category, bytes, request] of cases) {
      const { store, run, own } = await openBench()
      const manifest = await storeBytes(store, bytes)
      const adopting = run(own([whole(manifest, bytes.length)], manifest), request)
      assert.equal(await categoryOf(adopting), category)
      assert.equal(await categoryOf(ingestRead(bytes, request)), category)
    }
  })
})
