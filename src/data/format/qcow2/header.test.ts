import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MiB, TiB } from '#base/bytes.ts'
import type { RefusalCategory } from '#base/refusal.ts'
import { type HeaderFields, Qcow2Writer, type WriterOptions } from '../../../../test/support/qcow2-writer.ts'
import { assertRefused, diskOf, fileOf, noise, open, readDisk } from './qcow2.fixtures.ts'
import { openQcow2 } from './qcow2.ts'

const K64 = 65536

function image(options: Partial<WriterOptions> = {}): Qcow2Writer {
  const writer = new Qcow2Writer({ size: 4 * K64, ...options })
  writer.data(0, noise(writer.clusterSize, 1))
  return writer
}

/** Refusals that one bent field brings. */
const BENT: ReadonlyArray<
  readonly [string, RefusalCategory, Partial<HeaderFields>, Partial<WriterOptions>?]
> = [
  ['no magic number', 'bad-header', { magic: 0x514649fa }],
  ...[0, 1, 4, 2 ** 32 - 1].map(
    (version) => [`version ${version}`, 'unsupported-version', { version }] as const,
  ),
  ...[0, 8, 22, 31, 32, 63, 2 ** 32 - 1].map(
    (clusterBits) => [`cluster_bits ${clusterBits}`, 'bad-header', { clusterBits }] as const,
  ),
  ['a backing file', 'backing-file', { backingOffset: 1024n, backingSize: 11 }],
  ['a backing file without a length', 'backing-file', { backingOffset: 1024n }],
  ['a backing file far away', 'backing-file', { backingOffset: 1n << 63n, backingSize: 1 }],
  ['a backing file in version 2', 'backing-file', { backingOffset: 1024n, backingSize: 9 }, { version: 2 }],
  ...[1, 2, 3, 2 ** 32 - 1].map(
    (cryptMethod) => [`crypt_method ${cryptMethod}`, 'encrypted', { cryptMethod }] as const,
  ),
  ['encryption in version 2', 'encrypted', { cryptMethod: 1 }, { version: 2 }],
  ['65537 snapshots', 'bad-header', { snapshots: 65537 }],
  ['the corrupt bit', 'marked-corrupt', { incompatible: 2n }],
  ['the external data bit', 'external-data', { incompatible: 4n }],
  ['the raw external data bit alone', 'external-data', { autoclear: 2n }],
  ...[5n, 9n, 31n, 32n, 63n].map(
    (bit) => [`incompatible bit ${bit}`, 'unknown-feature', { incompatible: 1n << bit }] as const,
  ),
  ['the compression bit with type 0', 'unsupported-compression', { incompatible: 8n }],
  ['compression type 1 without its bit', 'unsupported-compression', { compressionType: 1 }],
  ['compression type 2', 'unsupported-compression', { incompatible: 8n, compressionType: 2 }],
  [
    'the compression bit without the field',
    'unsupported-compression',
    { incompatible: 8n },
    { headerLength: 104 },
  ],
  ['subclusters in clusters of 8 KiB', 'bad-header', { incompatible: 16n }, { clusterBits: 13 }],
  ['refcount_order 7', 'bad-header', { refcountOrder: 7 }],
  ['refcount_order 2^32-1', 'bad-header', { refcountOrder: 2 ** 32 - 1 }],
  ...[0, 72, 96, 100, 108, K64 + 8, 2 ** 32 - 1].map(
    (headerLength) => [`header_length ${headerLength}`, 'bad-header', { headerLength }] as const,
  ),
  ['virtual size 0', 'empty', { size: 0n }],
  ...[1n, 511n, 513n, 4n * 65536n - 1n, 2n ** 64n - 1n].map(
    (size) => [`virtual size ${size}`, 'bad-size', { size }] as const,
  ),
  ...[2n ** 53n, 2n ** 53n + 512n, 2n ** 62n, 2n ** 63n - 512n, 2n ** 63n, 2n ** 64n - 512n].map(
    (size) => [`virtual size ${size}`, 'too-large', { size }] as const,
  ),
  ['no L1 entry', 'bad-table', { l1Size: 0 }],
  ['an L1 table one entry short', 'bad-table', { l1Size: 1 }, { size: 8192 * K64 + 512 }],
  ['an L1 table above 32 MiB', 'bad-table', { l1Size: 4 * MiB + 1, l1Offset: 65536n }],
  ['an L1 table of 32 GiB', 'bad-table', { l1Size: 2 ** 32 - 1, l1Offset: 65536n }],
  ['an L1 table in mid-cluster', 'bad-table', { l1Offset: 3n * 65536n + 512n }],
  ['an L1 table in the header', 'bad-table', { l1Offset: 0n }],
  ['an L1 table past the end', 'truncated', { l1Offset: 1n << 40n }],
  ['an L1 table at 2^63', 'truncated', { l1Offset: 1n << 63n }],
  ['an L1 table at 2^64 - 64 KiB', 'truncated', { l1Offset: (1n << 64n) - 65536n }],
  ['no refcount table', 'bad-table', { refcountClusters: 0 }],
  ['a refcount table above 8 MiB', 'bad-table', { refcountClusters: 129 }],
  ['a refcount table of 2^32-1 clusters', 'bad-table', { refcountClusters: 2 ** 32 - 1 }],
  ['a refcount table in mid-cluster', 'bad-table', { refcountOffset: 65536n + 512n }],
  ['a refcount table past the end of any file', 'bad-table', { refcountOffset: 2n ** 63n - 65536n }],
  ['a refcount table in the header', 'bad-table', { refcountOffset: 0n }],
]

test('header: one bent field is refused with its own category', async (t) => {
  for (const [name, category, fields, options] of BENT) {
    await t.test(name, async () => {
      await assertRefused(image(options).set(fields).build(), category)
    })
  }
})

test('header: what a reader may ignore is ignored', async () => {
  const harmless: ReadonlyArray<readonly [Partial<HeaderFields>, Partial<WriterOptions>?]> = [
    [{ backingSize: 2 ** 32 - 1 }],
    [{ compatible: 2n ** 64n - 1n, autoclear: 2n ** 64n - 3n }],
    [{ snapshotsOffset: 2n ** 64n - 1n }],
    [{ refcountOffset: 1n << 62n, refcountClusters: 128 }],
    [{ refcountOrder: 0 }],
    [{ refcountOrder: 6 }],
    [{}, { headerLength: 104 }],
    [{}, { headerLength: K64 }],
    [{ incompatible: 2n ** 64n - 1n, refcountOrder: 99, headerLength: 3 }, { version: 2 }],
  ]
  for (const [fields, options] of harmless) {
    const writer = image(options)
    const disk = await diskOf(fileOf(writer.set(fields).build()))
    assert.deepEqual(disk.subarray(0, K64), noise(K64, 1))
  }
})

test('header: notes name what was left out', async () => {
  const notes = async (writer: Qcow2Writer) => (await open(fileOf(writer.build()))).notes
  assert.deepEqual(await notes(image()), [])
  assert.deepEqual(await notes(image().set({ incompatible: 1n })), ['The image was not closed cleanly.'])
  const snapshots = image().set({ snapshots: 65536, snapshotsOffset: 512n })
  assert.match(String(await notes(snapshots)), /snapshots were left out \(65536\)/)
  const bitmaps = image()
  bitmaps.extension(0x23852875, new Uint8Array(24))
  bitmaps.extension(0x23852875, new Uint8Array(24))
  assert.deepEqual(await notes(bitmaps), ["The image's dirty bitmaps were left out."])
})

test('header: the limit for the virtual size counts before any table', async () => {
  const file = image({ size: 1024 * K64 })
    .set({ l1Offset: 1n })
    .build()
  const limits = { fileSizeLimit: TiB, signal: new AbortController().signal }
  const size = 1024 * K64
  await assert.rejects(openQcow2(fileOf(file), { ...limits, virtualSizeLimit: size - 1 }), {
    category: 'too-large',
    message: `The disk is ${size} bytes, more than the limit of ${size - 1}.`,
  })
  await assert.rejects(openQcow2(fileOf(file), { ...limits, virtualSizeLimit: size }), {
    category: 'bad-table',
  })
})

test('header: a file that ends inside it is truncated', async () => {
  const whole = image().build()
  for (const size of [0, 3, 7, 8, 71, 72, 103, 104, 111, 512, 4096, K64 - 1]) {
    await assertRefused(whole.slice(0, size), 'truncated')
  }
})

test('header extensions: those that name another file or a key are refused', async () => {
  for (const version of [2, 3] as const) {
    for (const [type, category] of [
      [0x44415441, 'external-data'],
      [0x0537be77, 'encrypted'],
    ] as const) {
      const writer = image({ version })
      writer.extension(0x12345678, noise(13, 1))
      writer.extension(type, new Uint8Array(16))
      await assertRefused(writer.build(), category)
    }
  }
})

test('header extensions: a length past the cluster is refused', async () => {
  for (const claimed of [2 ** 32 - 1, 2 ** 31, K64, 512 - 112 - 8 + 1]) {
    const writer = image({ clusterBits: 9, size: 2048 })
    writer.extension(0x11111111, new Uint8Array(8), claimed)
    await assertRefused(writer.build(), 'bad-header')
    const end = image({ clusterBits: 9, size: 2048 })
    end.extension(0, new Uint8Array(8), claimed)
    await assertRefused(end.build(), 'bad-header')
  }
})

test('header extensions: unknown ones, and any after the end, are ignored', async () => {
  const writer = image()
  writer.extension(0x6803f857, noise(96, 4))
  writer.extension(0xe2792aca, new TextEncoder().encode('raw'))
  writer.extension(0x12345678, noise(4, 3))
  writer.extension(0, new Uint8Array(0))
  writer.extension(0x44415441, noise(16, 3))
  await readDisk(fileOf(writer.build()), () => {})
  const full = image({ clusterBits: 9, size: 2048 })
  full.extension(0x11111111, noise(512 - 112 - 8, 5))
  await readDisk(fileOf(full.build()), () => {})
})

test('header: bytes 72 and up of version 2 are extensions, and the compression is deflate', async () => {
  const writer = image({ version: 2 })
  writer.packDeflated(1, noise(K64, 2))
  const disk = await diskOf(fileOf(writer.build()))
  assert.deepEqual(disk.subarray(K64, 2 * K64), noise(K64, 2))
})
