import assert from 'node:assert/strict'
import { zstdCompressSync } from 'node:zlib'
import { MiB, type RandomBytes } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { fileOf, noise, readExtent, texty } from '#data/format/qcow2/qcow2.fixtures.ts'
import { openQcow2 } from '#data/format/qcow2/qcow2.ts'
import { COPIED, Qcow2Writer, READS_AS_ZEROS } from '../support/qcow2-writer.ts'
import { createRandom } from '../support/random-disk.ts'
import { below, pick } from './mutation.ts'
import { compareWith } from './other-programs.ts'
import type { Case, Field, Random, Target } from './target.ts'

/** Small, so that a case is quick. */
const DISK_LIMIT = 8 * MiB
const FILE_LIMIT = 16 * MiB
/** Where the header's numbers are: offset, bytes. */
const HEADER_FIELDS: readonly (readonly [number, number])[] = [
  [4, 4],
  [8, 8],
  [16, 4],
  [20, 4],
  [24, 8],
  [32, 4],
  [36, 4],
  [40, 8],
  [48, 8],
  [56, 4],
  [60, 4],
  [64, 8],
  [72, 8],
  [80, 8],
  [88, 8],
  [96, 4],
  [100, 4],
  [104, 1],
  [112, 4],
  [116, 4],
]
const MOST_ENTRIES = 300
/** What QEMU reads or opens; formats that are refused because two readers differ, or because QEMU lets lies pass. */
const STRICTER: readonly string[] = [
  'empty',
  'bad-size',
  'too-large',
  'truncated',
  'overlap',
  'bad-entry',
  'bad-table',
  'bad-header',
  'bad-cluster',
  'marked-corrupt',
  'backing-file',
  'external-data',
  'encrypted',
  'unsupported-compression',
]
/** Parts that we leave alone and QEMU looks at when it opens a file: section by section of its own messages. */
const LEFT_ALONE =
  /ext_\w+|refcount|snapshot|bitmap|feature table|autoclear|crypt|Image is corrupt|backing format|dirty/i

function parse(
  input: Uint8Array,
): { view: DataView; clusterSize: number; l1At: number; l1Count: number } | undefined {
  if (input.length < 72) return undefined
  const view = new DataView(input.buffer, input.byteOffset, input.length)
  const clusterBits = view.getUint32(20)
  if (clusterBits < 9 || clusterBits > 21) return undefined
  return {
    view,
    clusterSize: 1 << clusterBits,
    l1At: Number(view.getBigUint64(40)),
    l1Count: view.getUint32(36),
  }
}

/** The header's numbers, and the entries of L1 and L2 tables that are not zero. */
export function qcow2Fields(input: Uint8Array): Field[] {
  const fields = HEADER_FIELDS.map(([at, size]) => ({ at, size, littleEndian: false }))
  const image = parse(input)
  if (!image) return fields.filter(({ at, size }) => at + size <= input.length)
  const { view, clusterSize, l1At, l1Count } = image
  const entry = (at: number): bigint => (at + 8 <= input.length ? view.getBigUint64(at) : 0n)
  const add = (at: number) => fields.push({ at, size: 8, littleEndian: false })
  for (let index = 0; index < Math.min(l1Count, 64); index++) {
    const value = entry(l1At + index * 8)
    if (value === 0n) continue
    add(l1At + index * 8)
    const table = Number(value & 0x00ff_ffff_ffff_fe00n)
    for (
      let at = table;
      at < Math.min(table + clusterSize, input.length) && fields.length < MOST_ENTRIES;
      at += 8
    ) {
      if (entry(at) !== 0n) add(at)
    }
  }
  return fields.filter(({ at, size }) => at + size <= input.length)
}

/** Reads a file whose size is known or not. */
async function readDisk(file: RandomBytes): Promise<Uint8Array> {
  const options = {
    virtualSizeLimit: DISK_LIMIT,
    fileSizeLimit: FILE_LIMIT,
    signal: new AbortController().signal,
  }
  const qcow2 = await openQcow2(file, options)
  assert.ok(qcow2.virtualSize > 0 && qcow2.virtualSize <= DISK_LIMIT, 'the limit holds')
  const disk = new Uint8Array(qcow2.virtualSize)
  let end = 0
  for await (const extent of qcow2.extents()) {
    assert.ok(extent.length > 0 && extent.offset >= end, 'extents ascend')
    end = extent.offset + extent.length
    assert.ok(end <= qcow2.virtualSize, 'extents lie on the disk')
    if (extent.kind === 'plain') {
      assert.equal(
        Math.floor(extent.offset / MiB),
        Math.floor((end - 1) / MiB),
        'a plain extent lies in one MiB',
      )
    }
    disk.set(await readExtent(file, qcow2, extent), extent.offset)
  }
  await qcow2.finish()
  return disk
}

/** A file that is still arriving gives the same disk as one that is there, or is refused as that is. */
export async function readQcow2(input: Uint8Array): Promise<Uint8Array> {
  const arriving = await readDisk(fileOf(input, { sized: false })).catch((error: unknown) => error)
  const known = await readDisk(fileOf(input)).catch((error: unknown) => error)
  for (const end of [arriving, known]) {
    if (end instanceof Error && !(end instanceof LibraryError)) throw end
  }
  assert.equal(
    arriving instanceof Error,
    known instanceof Error,
    `arriving: ${arriving}; all there: ${known}`,
  )
  if (!(known instanceof Uint8Array)) throw known
  assert.ok(
    arriving instanceof Uint8Array && Buffer.compare(arriving, known) === 0,
    'a file that arrives is another disk',
  )
  return known
}

/** Writes some clusters of all kinds. */
function write(writer: Qcow2Writer, clusters: number, random: Random, compression: 'deflate' | 'zstd'): void {
  const content = (guest: number) =>
    pick([noise, texty, (length: number) => new Uint8Array(length)], random)(writer.clusterSize, guest)
  const packed = (bytes: Uint8Array, guest: number) =>
    compression === 'zstd' ? writer.pack(guest, zstdCompressSync(bytes)) : writer.packDeflated(guest, bytes)
  for (let guest = 0; guest < clusters; guest++) {
    const kind = random()
    if (kind < 0.3) writer.data(guest, content(guest))
    else if (kind < 0.6) packed(content(guest), guest)
    else if (kind < 0.7) writer.entry(guest, READS_AS_ZEROS)
    else if (kind < 0.75) writer.entry(guest, BigInt(writer.allocate()) | COPIED | READS_AS_ZEROS)
    else if (kind < 0.78) writer.entry(guest, writer.entryOf(below(clusters, random)))
  }
}

export function makeQcow2(random: Random): Uint8Array {
  const extendedL2 = random() < 0.15
  const clusterBits = extendedL2 ? 14 : 9 + below(4, random)
  const clusters = 1 + below(extendedL2 ? 8 : 40, random)
  const size = Math.max(512, (clusters << clusterBits) - 512 * below((1 << clusterBits) / 512, random))
  const compression = random() < 0.5 ? 'zstd' : 'deflate'
  const version = !extendedL2 && compression === 'deflate' && random() < 0.2 ? 2 : 3
  const writer = new Qcow2Writer({ size, clusterBits, extendedL2, compression, version })
  if (random() < 0.5) writer.tablesFirst()
  if (random() < 0.2) writer.extension(pick([0xe2792aca, 0x6803f857, 1, 0x44415441], random), noise(48, 1))
  write(writer, clusters, random, compression)
  if (random() < 0.3) writer.unpadded()
  return writer.build()
}

/** One process an image takes too long to ask about all. */
function someOf(cases: readonly Case[]): Case[] {
  const kind = (wanted: string, most: number) =>
    cases.filter(({ verdict }) => verdict.kind === wanted).slice(0, most)
  return [...kind('accepted', 12), ...kind('refused', 4)]
}

export const qcow2Target: Target = {
  name: 'qcow2',
  seeds: () => Array.from({ length: 24 }, (_, seed) => makeQcow2(createRandom(seed))),
  make: makeQcow2,
  fields: qcow2Fields,
  read: readQcow2,
  async compare(cases, folder) {
    compareWith(
      {
        program: 'qemu-img',
        line: 'qemu-img convert -f qcow2 -O raw $f $f.out',
        stricter: ({ category }) => STRICTER.includes(category),
        wrong: (says) => LEFT_ALONE.test(says),
      },
      someOf(cases),
      folder,
    )
  },
}
