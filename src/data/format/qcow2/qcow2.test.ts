import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deflateRawSync, zstdCompressSync } from 'node:zlib'
import { GiB, MiB, TiB } from '#base/bytes.ts'
import {
  COPIED,
  Qcow2Writer,
  READS_AS_ZEROS,
  type WriterOptions,
} from '../../../../test/support/qcow2-writer.ts'
import type { Qcow2Extent } from './extents.ts'
import { assertQuick, assertRefused, diskOf, fileOf, noise, open, readDisk, texty } from './qcow2.fixtures.ts'

const K64 = 65536
const LAST_HOST_CLUSTER = 0x00ffffffffff0000n

/** A disk of four clusters, two of them data. */
function image(options: Partial<WriterOptions> = {}): Qcow2Writer {
  const writer = new Qcow2Writer({ size: 4 * K64, ...options })
  writer.data(0, noise(writer.clusterSize, 0))
  writer.data(1, noise(writer.clusterSize, 1))
  return writer
}

/** Adds entry 2 of the L2 table. */
function pointing(entry: bigint | ((writer: Qcow2Writer) => bigint), options: Partial<WriterOptions> = {}) {
  const writer = image(options)
  writer.entry(2, typeof entry === 'bigint' ? entry : entry(writer))
  return writer.build()
}

async function extentsOf(content: Uint8Array): Promise<Qcow2Extent[]> {
  return Array.fromAsync((await open(fileOf(content))).extents())
}

test('L1: reserved bits and places in mid-cluster are refused', async () => {
  for (const bits of [1n, 0x1f0n, 512n, 1024n, 1n << 56n, 1n << 61n, 1n << 62n]) {
    const writer = image()
    writer.l1Entry(0, BigInt(writer.l2At(0)) | bits)
    await assertRefused(writer.build(), 'bad-entry')
  }
})

test('L1: a table outside the file is refused, also where it is far beyond any file', async () => {
  for (const place of [1n << 40n, LAST_HOST_CLUSTER, 1n << 53n]) {
    const writer = image()
    writer.l1Entry(0, place | COPIED)
    await assertRefused(writer.build(), 'truncated')
  }
})

test('L1: entries without a table are zeros, and those past the need are not read', async () => {
  const writer = new Qcow2Writer({ size: 40 * 4096 * 512 + 512, clusterBits: 12, l1Count: 50 })
  for (const guest of [0, 511, 512, 40 * 512]) writer.data(guest, noise(4096, guest))
  for (let index = 41; index < 50; index++) writer.l1Entry(index, 2n ** 64n - 1n)
  const offsets = (await extentsOf(writer.build())).map(({ offset, length }) => [offset, length])
  assert.deepEqual(offsets, [
    [0, 4096],
    [511 * 4096, 4096],
    [512 * 4096, 4096],
    [40 * 512 * 4096, 512],
  ])
})

test('L1: the table may end the file in mid-cluster, but not be cut', async () => {
  const writer = new Qcow2Writer({ size: 20 * 4096 * 512, clusterBits: 12 })
  writer.data(0, noise(4096, 1))
  writer.l2At(0)
  const file = writer.unpadded().build()
  assert.equal(file.length, writer.l1At() + 20 * 8)
  assert.equal((await extentsOf(file)).length, 1)
  await assertRefused(file.slice(0, -1), 'truncated')
})

test('L2: every reserved bit is refused', async () => {
  for (const bits of [...range(1, 8), ...range(56, 61)]) {
    await assertRefused(
      pointing((writer) => BigInt(writer.allocate()) | COPIED | (1n << bits)),
      'bad-entry',
    )
  }
})

function range(first: number, last: number): bigint[] {
  return Array.from({ length: last - first + 1 }, (_, index) => BigInt(first + index))
}

test('L2: places in mid-cluster, and host offset 0 said to be data, are refused', async () => {
  await assertRefused(
    pointing((writer) => BigInt(writer.allocate() + 512)),
    'bad-entry',
  )
  await assertRefused(pointing(COPIED), 'bad-entry')
  await assertRefused(pointing(COPIED | READS_AS_ZEROS), 'bad-entry')
})

test('L2: data outside the file is refused, also where it is far beyond any file', async () => {
  for (const place of [1n << 40n, 1n << 53n, LAST_HOST_CLUSTER]) {
    for (const bits of [0n, COPIED, COPIED | READS_AS_ZEROS]) {
      await assertRefused(pointing(place | bits), 'truncated')
    }
  }
})

test('L2: the zero flag hides data, and exists in version 3 only', async () => {
  const writer = image()
  writer.entry(1, writer.entryOf(1) | READS_AS_ZEROS)
  writer.entry(2, READS_AS_ZEROS)
  const disk = await diskOf(fileOf(writer.build()))
  assert.ok(Buffer.from(disk.subarray(0, K64)).equals(noise(K64, 0)))
  assert.ok(disk.subarray(K64).every((byte) => byte === 0))
  await assertRefused(pointing(READS_AS_ZEROS, { version: 2 }), 'bad-entry')
})

test('L2: a file cut anywhere in what the guest sees is truncated; what it does not see may miss', async () => {
  const writer = new Qcow2Writer({ size: K64 + 1024 }).tablesFirst()
  writer.data(0, noise(K64, 1))
  const last = writer.data(1, noise(K64, 2))
  const file = writer.build()
  const disk = await diskOf(fileOf(file.slice(0, last + 1024)))
  assert.ok(Buffer.from(disk.subarray(K64)).equals(noise(K64, 2).subarray(0, 1024)))
  for (const size of [last + 1023, last, last - 1, writer.l2At(0) + 100, writer.l1At() + 7]) {
    await assertRefused(file.slice(0, size), 'truncated')
  }
})

test('overlap: data may not lie on the header, a table or other data', async () => {
  const places: ReadonlyArray<(writer: Qcow2Writer) => number> = [
    (writer) => writer.l1At(),
    (writer) => writer.l2At(0),
    (writer) => Number(writer.entryOf(1) & ~COPIED),
  ]
  for (const place of places) {
    for (const bits of [0n, COPIED, READS_AS_ZEROS]) {
      await assertRefused(
        pointing((writer) => BigInt(place(writer)) | bits),
        'overlap',
      )
    }
  }
})

test('overlap: the later cluster of a long L1 table counts too', async () => {
  const writer = new Qcow2Writer({ size: 100 * 64 * 512, clusterBits: 9 })
  writer.entry(0, BigInt(writer.l1At() + 512))
  await assertRefused(writer.build(), 'overlap')
})

test('overlap: tables may not be shared, nor be the L1 table, nor lie on data', async () => {
  const shared = new Qcow2Writer({ size: 4 * 512 * MiB })
  for (let index = 0; index < 4; index++) shared.l1Entry(index, BigInt(shared.l2At(0)))
  await assertRefused(shared.build(), 'overlap')
  const self = image()
  self.l1Entry(0, BigInt(self.l1At()))
  await assertRefused(self.build(), 'overlap')
  const later = new Qcow2Writer({ size: 2 * 512 * MiB })
  const place = later.data(0, new Uint8Array(K64))
  later.l1Entry(1, BigInt(place))
  await assertRefused(later.build(), 'overlap')
})

test('overlap: 8 TiB of work in one cluster is refused at the second entry', async () => {
  const writer = new Qcow2Writer({ size: 8 * TiB, clusterBits: 21 })
  const place = BigInt(writer.allocate())
  for (let guest = 0; guest < writer.entriesPerTable; guest++) writer.entry(guest, place | COPIED)
  for (let index = 0; index < 16; index++) writer.l1Entry(index, BigInt(writer.l2At(0)))
  const file = writer.build()
  await assertQuick(1000, () => assertRefused(file, 'overlap'))
})

test('compressed: packed byte by byte, with gaps, overstated, and larger than a cluster', async () => {
  const writer = new Qcow2Writer({ size: 6 * K64 - 512 })
  const contents = [texty(K64, 0), noise(K64, 1), texty(K64, 2), noise(K64, 3), texty(K64, 4), texty(K64, 5)]
  contents.forEach((content, guest) => {
    const level = guest % 3 === 1 ? 0 : 9
    const stream = deflateRawSync(content, { level, windowBits: guest % 2 ? 15 : 12 })
    writer.pack(guest, stream, { gap: guest * 7, extraSectors: guest === 3 ? 20 : 0 })
  })
  const disk = await diskOf(fileOf(writer.unpadded().build()))
  assert.ok(Buffer.concat(contents).subarray(0, disk.length).equals(disk))
})

test('compressed: zstd clusters, and one cut with the file', async () => {
  const writer = new Qcow2Writer({ size: 2 * K64, compression: 'zstd' }).tablesFirst()
  for (const guest of [1, 0]) writer.pack(guest, zstdCompressSync(texty(K64, guest)))
  const file = writer.unpadded().build()
  const disk = await diskOf(fileOf(file))
  assert.ok(Buffer.concat([texty(K64, 0), texty(K64, 1)]).equals(disk))
  await assertRefused(file.slice(0, -1), 'bad-cluster')
})

test('compressed: clusters of 512 bytes have offset bits up to 55 only', async () => {
  for (const bit of [56n, 57n, 60n]) {
    const writer = new Qcow2Writer({ size: 4096, clusterBits: 9 })
    writer.packDeflated(0, texty(512, 1))
    writer.entry(0, writer.entryOf(0) | (1n << bit))
    await assertRefused(writer.build(), 'bad-entry')
    writer.entry(0, (writer.entryOf(0) & ~(1n << bit)) | (1n << 55n))
    await assertRefused(writer.build(), 'truncated')
  }
})

test('compressed: a stream outside the file, or cut, is refused', async () => {
  for (const place of [1 << 30, 2 ** 40, 2 ** 53, 2 ** 54 - 2]) {
    await assertRefused(
      pointing((writer) => writer.descriptor(place, 600)),
      'truncated',
    )
  }
  const writer = new Qcow2Writer({ size: K64 }).tablesFirst()
  writer.packDeflated(0, texty(K64, 3))
  const file = writer.unpadded().build()
  await assertRefused(file.slice(0, -200), 'bad-cluster')
})

test('compressed: too few sectors for the stream are refused', async () => {
  const writer = new Qcow2Writer({ size: K64 })
  const at = writer.packDeflated(0, texty(K64, 3))
  writer.entry(0, writer.descriptor(at, 600))
  await assertRefused(writer.build(), 'bad-cluster')
})

test('overlap: compressed clusters at one place, or inside each other', async () => {
  const writer = new Qcow2Writer({ size: 4 * K64 })
  const stored = deflateRawSync(noise(K64, 1), { level: 0 })
  const at = writer.pack(0, stored)
  writer.entry(1, writer.entryOf(0))
  await assertRefused(writer.build(), 'overlap')
  // A whole stream of its own in a stored block of the first, where it is no more than noise.
  const inner = deflateRawSync(texty(K64, 5), { level: 9, windowBits: 12 })
  const hiding = new Uint8Array(K64)
  hiding.set(inner, 100)
  const outer = deflateRawSync(hiding, { level: 0 })
  const nested = new Qcow2Writer({ size: 4 * K64 })
  const start = nested.pack(0, outer) + Buffer.from(outer).indexOf(inner)
  assert.ok(start > at)
  nested.entry(3, nested.descriptor(start, inner.length))
  await assertRefused(nested.build(), 'overlap')
})

test('overlap: a stream may not touch a cluster used otherwise, whichever is met first', async () => {
  for (const isDataFirst of [true, false]) {
    const writer = new Qcow2Writer({ size: 4 * K64 })
    const stored = deflateRawSync(noise(K64, 1), { level: 0 })
    const at = writer.pack(isDataFirst ? 3 : 0, stored)
    // Longer than a cluster, so that it runs into the next.
    writer.entry(isDataFirst ? 0 : 3, BigInt(at + K64))
    await assertRefused(writer.build(), 'overlap')
  }
  const header = image()
  header.entry(2, header.descriptor(100, 600))
  await assertRefused(header.build(), 'overlap')
  const table = image()
  table.entry(2, table.descriptor(table.l2At(0) + 100, 600))
  await assertRefused(table.build(), 'overlap')
})

test('overlap: 131072 compressed clusters at one place are refused at once', async () => {
  const writer = new Qcow2Writer({ size: 8 * GiB })
  writer.packDeflated(0, new Uint8Array(K64))
  for (let guest = 1; guest < 131072; guest++) writer.entry(guest, writer.entryOf(0))
  const file = writer.build()
  await assertQuick(1000, () => assertRefused(file, 'overlap'))
})

test('claimConsumed: claims in any order are told apart to the byte', async () => {
  const writer = new Qcow2Writer({ size: 64 * 4096, clusterBits: 12 })
  for (let guest = 0; guest < 64; guest++) writer.packDeflated((guest * 29) % 64, texty(4096, guest))
  const file = fileOf(writer.build())
  const lengths = new Map<number, number>()
  const streams = [...Array(64).keys()].map((guest) => deflateRawSync(texty(4096, guest), { windowBits: 12 }))
  streams.forEach((stream, guest) => {
    lengths.set(((guest * 29) % 64) * 4096, stream.length)
  })
  for (const excess of [0, 1]) {
    const qcow2 = await open(file)
    const extents = await Array.fromAsync(qcow2.extents())
    const claimAll = () => {
      for (const extent of extents.sort(
        (a, b) => ((a.offset * 7919) % 262139) - ((b.offset * 7919) % 262139),
      )) {
        assert.equal(extent.kind, 'compressed')
        const consumed = (lengths.get(extent.offset) ?? 0) + (extent.offset === 4096 ? excess : 0)
        if (extent.kind === 'compressed') qcow2.claimConsumed(extent, consumed)
      }
    }
    if (excess === 0) claimAll()
    else assert.throws(claimAll, { category: 'overlap' })
  }
})

test('subclusters: only allocated ones are told, in runs, cut at the virtual size', async () => {
  const sub = 512
  const writer = new Qcow2Writer({ size: 3 * 16384 - 5 * sub, clusterBits: 14, extendedL2: true })
  const first = writer.data(0, noise(16384, 1))
  writer.entry(0, BigInt(first) | COPIED, 0b1000_0000_0000_0000_0000_0000_0110_0001n | (1n << 34n))
  const second = writer.data(1, noise(16384, 2))
  const third = writer.data(2, noise(16384, 3))
  const place = (offset: number, length: number, hostOffset: number) => ({
    ...({ kind: 'plain', offset, length, hostOffset } as const),
  })
  assert.deepEqual(await extentsOf(writer.build()), [
    place(0, sub, first),
    place(5 * sub, 2 * sub, first + 5 * sub),
    // The last one of the first cluster, and the two clusters that follow it on disk and in the file.
    place(31 * sub, sub + 16384 + 16384 - 5 * sub, first + 31 * sub),
  ])
  assert.ok(second === first + 16384 && third === second + 16384)
})

test('subclusters: the file may end behind the last allocated one, not before', async () => {
  const writer = new Qcow2Writer({ size: 16384, clusterBits: 14, extendedL2: true }).tablesFirst()
  const at = writer.data(0, noise(16384, 1))
  writer.entry(0, BigInt(at), 0b11n)
  const file = writer.build()
  assert.equal((await extentsOf(file.slice(0, at + 1024))).length, 1)
  await assertRefused(file.slice(0, at + 1023), 'truncated')
})

test('subclusters: zeros of every kind are left out', async () => {
  const writer = new Qcow2Writer({ size: 4 * 16384, clusterBits: 14, extendedL2: true })
  writer.entry(0, 0n, 0xffffffffn << 32n)
  writer.entry(1, BigInt(writer.allocate()) | COPIED, 0n)
  writer.entry(2, BigInt(writer.allocate()) | COPIED, 0x0f0f0f0fn << 32n)
  assert.deepEqual(await extentsOf(writer.build()), [])
})

test('subclusters: contradictions are refused', async () => {
  const bad: ReadonlyArray<(writer: Qcow2Writer, at: bigint) => void> = [
    (writer, at) => writer.entry(0, at | COPIED, 1n | (1n << 32n)),
    (writer, at) => writer.entry(0, at | COPIED, (1n << 31n) | (1n << 63n)),
    (writer, at) => writer.entry(0, at | COPIED | 1n, 0xffffffffn),
    (writer) => writer.entry(0, 0n, 0xffn),
    (writer) => writer.entry(0, 1n, 0n),
    (writer) => writer.entry(0, COPIED, 0n),
    (writer, at) => writer.entry(0, writer.descriptor(Number(at), 500), 1n),
    (writer, at) => writer.entry(0, writer.descriptor(Number(at), 500), 1n << 40n),
  ]
  for (const bend of bad) {
    const writer = new Qcow2Writer({ size: 4 * 16384, clusterBits: 14, extendedL2: true })
    bend(writer, BigInt(writer.data(0, noise(16384, 1))))
    await assertRefused(writer.build(), 'bad-entry')
  }
})

test('extents: runs are joined up to each MiB of the disk, clusters of 2 MiB cut there', async () => {
  const small = new Qcow2Writer({ size: 3 * MiB, clusterBits: 12 })
  for (let guest = 100; guest < 700; guest++) small.data(guest, new Uint8Array(4096))
  const lengths = (await extentsOf(small.build())).map(({ offset, length }) => [offset / 4096, length / 4096])
  assert.deepEqual(lengths, [
    [100, 156],
    [256, 256],
    [512, 188],
  ])
  const large = new Qcow2Writer({ size: 4 * MiB - 512, clusterBits: 21 })
  large.data(1, new Uint8Array(2 * MiB))
  const extents = await extentsOf(large.build())
  assert.deepEqual(
    extents.map(({ offset, length }) => [offset, length]),
    [
      [2 * MiB, MiB],
      [3 * MiB, MiB - 512],
    ],
  )
})

test('extents: neighbours on the disk that are apart in the file are not joined, and the reverse', async () => {
  const writer = new Qcow2Writer({ size: 8 * K64 })
  for (const guest of [0, 2, 1, 3, 5]) writer.data(guest, noise(K64, guest))
  const extents = await extentsOf(writer.build())
  assert.deepEqual(
    extents.map(({ offset }) => offset / K64),
    [0, 1, 2, 3, 5],
  )
  await readDisk(fileOf(writer.build()), (offset, bytes) => {
    assert.ok(Buffer.from(noise(K64, offset / K64)).equals(bytes))
  })
})

test('extents: empty disks of 128 GiB in sectors and 16 TiB, and 16 Mi empty entries, take no time', async () => {
  const disks = [
    new Qcow2Writer({ size: 128 * GiB, clusterBits: 9 }),
    new Qcow2Writer({ size: 16 * TiB }),
    new Qcow2Writer({ size: 16 * MiB * 512, clusterBits: 9 }).tablesFirst(),
  ]
  for (const writer of disks) {
    const file = writer.build()
    await assertQuick(1000, async () => assert.deepEqual(await extentsOf(file), []))
  }
})
