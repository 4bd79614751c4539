import { KiB, MiB } from '#base/bytes.ts'
import { Refusal } from '#base/refusal.ts'
import { badHeader, badTable, endsTooEarly } from './refusals.ts'

/** How a compressed cluster is encoded: raw deflate, or zstd frames. */
export type Qcow2Compression = 'deflate' | 'zstd'

/** What a reader needs of a header whose every rule was checked. Sizes and offsets in bytes. */
export interface Qcow2Header {
  readonly version: 2 | 3
  readonly clusterBits: number
  readonly clusterSize: number
  readonly virtualSize: number
  /** Where the header extensions begin. */
  readonly headerLength: number
  readonly l1Offset: bigint
  /** L1 entries that the virtual size needs; the table may be longer. */
  readonly l1Count: number
  readonly entrySize: 8 | 16
  readonly compression: Qcow2Compression
  /** One sentence each. */
  readonly notes: readonly string[]
}

/** More than the fixed fields of any version; never more than a cluster. */
export const HEADER_READ_SIZE = 512

const MAGIC = 0x514649fb
const V2_LENGTH = 72
const V3_LENGTH = 104
const MIN_CLUSTER_BITS = 9
const MAX_CLUSTER_BITS = 21
const MIN_SUBCLUSTER_BITS = 14
const MAX_REFCOUNT_ORDER = 6
const MAX_SNAPSHOTS = 64 * KiB
const MAX_L1_SIZE = 32 * MiB
/** No file is longer: the type of offsets in every system. */
const MAX_FILE_END = 2n ** 63n - 1n
const MAX_REFCOUNT_TABLE_SIZE = 8 * MiB

const DIRTY = 1n
const CORRUPT = 2n
const EXTERNAL_DATA = 4n
const COMPRESSION_TYPE = 8n
const EXTENDED_L2 = 16n
const KNOWN_FEATURES = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2
const RAW_EXTERNAL_DATA = 2n

const END_EXTENSION = 0
const BITMAPS_EXTENSION = 0x23852875
const ENCRYPTION_EXTENSION = 0x0537be77
const EXTERNAL_DATA_EXTENSION = 0x44415441

const FLATTEN = 'Flatten it first: qemu-img convert -O qcow2.'

/**
 * Reads the fixed part of a header and applies every rule that needs no other byte of the file.
 * @param head the first HEADER_READ_SIZE bytes, fewer only where the file ends
 * @param backing what a backing file's name means: `ignored` for a file whose place in a chain is known from elsewhere
 * @throws Refusal
 * @see QEMU docs/interop/qcow2.txt, "Header"
 */
export function parseHeader(
  head: Uint8Array,
  virtualSizeLimit: number,
  backing: 'refused' | 'ignored' = 'refused',
): Qcow2Header {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  if (head.length < 8) throw endsTooEarly(head.length)
  if (view.getUint32(0) !== MAGIC) throw badHeader('no magic number')
  const version = view.getUint32(4)
  if (version !== 2 && version !== 3) {
    throw new Refusal('unsupported-version', `qcow version ${version} is not supported, only 2 and 3.`)
  }
  if (head.length < (version === 2 ? V2_LENGTH : V3_LENGTH)) throw endsTooEarly(head.length)
  if (backing === 'refused' && view.getBigUint64(8) !== 0n) {
    throw new Refusal('backing-file', `The image depends on a backing file. ${FLATTEN}`)
  }
  const clusterBits = view.getUint32(20)
  // Before any shift: 1 << 32 is 1.
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    throw badHeader(`cluster_bits ${clusterBits}`)
  }
  const clusterSize = 1 << clusterBits
  if (view.getUint32(32) !== 0) throw encrypted()
  const snapshots = view.getUint32(60)
  if (snapshots > MAX_SNAPSHOTS) throw badHeader(`${snapshots} snapshots`)
  const { features, headerLength, compression } =
    version === 2 ? V2_EXTRAS : parseV3(head, view, { clusterBits, clusterSize })
  const virtualSize = checkVirtualSize(view.getBigUint64(24), virtualSizeLimit)
  const entrySize = features & EXTENDED_L2 ? 16 : 8
  const notes: string[] = []
  if (features & DIRTY) notes.push('The image was not closed cleanly.')
  if (snapshots > 0) notes.push(`Internal snapshots were left out (${snapshots}).`)
  const header = { version, clusterBits, clusterSize, virtualSize, headerLength } as const
  const { l1Offset, l1Count } = checkTables(view, { clusterSize, virtualSize, entrySize })
  return { ...header, l1Offset, l1Count, entrySize, compression, notes }
}

interface Extras {
  readonly features: bigint
  readonly headerLength: number
  readonly compression: Qcow2Compression
}

const V2_EXTRAS: Extras = { features: 0n, headerLength: V2_LENGTH, compression: 'deflate' }

/** The fields that version 3 added. */
function parseV3(
  head: Uint8Array,
  view: DataView,
  { clusterBits, clusterSize }: { clusterBits: number; clusterSize: number },
): Extras {
  const features = view.getBigUint64(72)
  if (features & CORRUPT) {
    throw new Refusal(
      'marked-corrupt',
      'The image is marked corrupt. Repair it first: qemu-img check -r all.',
    )
  }
  if (features & EXTERNAL_DATA || view.getBigUint64(88) & RAW_EXTERNAL_DATA) throw externalData()
  const unknown = features & ~KNOWN_FEATURES
  if (unknown !== 0n) {
    // The image may name the bit, but that text is the attacker's: only the number is shown.
    const bit = unknown.toString(2).length - 1
    throw new Refusal(
      'unknown-feature',
      `The image needs a qcow2 feature that is not supported (incompatible bit ${bit}).`,
    )
  }
  if (features & EXTENDED_L2 && clusterBits < MIN_SUBCLUSTER_BITS) {
    throw badHeader(`cluster_bits ${clusterBits} with extended L2 entries`)
  }
  const refcountOrder = view.getUint32(96)
  if (refcountOrder > MAX_REFCOUNT_ORDER) throw badHeader(`refcount_order ${refcountOrder}`)
  const headerLength = view.getUint32(100)
  if (headerLength < V3_LENGTH || headerLength % 8 !== 0 || headerLength > clusterSize) {
    throw badHeader(`header_length ${headerLength}`)
  }
  if (headerLength > V3_LENGTH && head.length <= V3_LENGTH) throw endsTooEarly(head.length)
  const type = headerLength > V3_LENGTH ? view.getUint8(V3_LENGTH) : 0
  const flagged = (features & COMPRESSION_TYPE) !== 0n
  // Bit and field must say the same; type 0 with the bit set is read differently by different readers.
  if (type > 1 || flagged !== (type === 1)) {
    throw new Refusal('unsupported-compression', `qcow2 compression type ${type} is not supported.`, {
      ...(type <= 1 && { hint: 'The compression type and its feature bit contradict each other.' }),
    })
  }
  return { features, headerLength, compression: type === 1 ? 'zstd' : 'deflate' }
}

/** @param size as the header has it, compared while it is exact */
function checkVirtualSize(size: bigint, limit: number): number {
  if (size === 0n) throw new Refusal('empty', 'The image is empty.')
  // QEMU drops the odd end without a word, so two readers would disagree.
  if (size % 512n !== 0n) {
    throw new Refusal('bad-size', `The virtual size ${size} is not a multiple of 512 bytes.`)
  }
  if (size > BigInt(Math.min(limit, Number.MAX_SAFE_INTEGER))) {
    throw new Refusal('too-large', `The disk is ${size} bytes, more than the limit of ${limit}.`)
  }
  return Number(size)
}

function checkTables(
  view: DataView,
  disk: { clusterSize: number; virtualSize: number; entrySize: number },
): { l1Offset: bigint; l1Count: number } {
  const cluster = BigInt(disk.clusterSize)
  const l1Size = view.getUint32(36)
  const l1Offset = view.getBigUint64(40)
  const l1Count = Math.ceil(disk.virtualSize / (disk.clusterSize * (disk.clusterSize / disk.entrySize)))
  if (l1Size * 8 > MAX_L1_SIZE) throw badTable('L1', `${l1Size} entries`)
  if (l1Size < l1Count) throw badTable('L1', `${l1Size} entries where the disk needs ${l1Count}`)
  if (l1Offset === 0n || l1Offset % cluster !== 0n) throw badTable('L1', `it is said to be at ${l1Offset}`)
  // Counts are never read, but QEMU refuses these shapes as well.
  const refcountOffset = view.getBigUint64(48)
  const refcountClusters = view.getUint32(56)
  if (refcountClusters === 0 || refcountClusters * disk.clusterSize > MAX_REFCOUNT_TABLE_SIZE) {
    throw badTable('refcount', `${refcountClusters} clusters`)
  }
  const refcountEnd = refcountOffset + BigInt(refcountClusters * disk.clusterSize)
  if (refcountOffset === 0n || refcountOffset % cluster !== 0n || refcountEnd > MAX_FILE_END) {
    throw badTable('refcount', `it is said to be at ${refcountOffset}`)
  }
  return { l1Offset, l1Count }
}

/**
 * Applies the rules for header extensions.
 * @param cluster the whole first cluster
 * @param from the header's length
 * @returns notes, one sentence each
 * @throws Refusal where one names another file or a key, or runs past the cluster
 * @see QEMU docs/interop/qcow2.txt, "Header extensions"
 */
export function checkExtensions(cluster: Uint8Array, from: number): string[] {
  const view = new DataView(cluster.buffer, cluster.byteOffset, cluster.byteLength)
  let bitmaps = false
  let at = from
  while (at + 8 <= cluster.length) {
    const type = view.getUint32(at)
    const length = view.getUint32(at + 4)
    // Also of the one that ends the list, as QEMU has it.
    if (length > cluster.length - at - 8) throw badHeader(`an extension of ${length} bytes`)
    if (type === END_EXTENSION) break
    if (type === EXTERNAL_DATA_EXTENSION) throw externalData()
    if (type === ENCRYPTION_EXTENSION) throw encrypted()
    if (type === BITMAPS_EXTENSION) bitmaps = true
    at += 8 + Math.ceil(length / 8) * 8
  }
  return bitmaps ? ["The image's dirty bitmaps were left out."] : []
}

function externalData(): Refusal {
  return new Refusal(
    'external-data',
    'The image keeps its data in another file. Convert it first: qemu-img convert -O qcow2.',
  )
}

function encrypted(): Refusal {
  return new Refusal('encrypted', 'Encrypted images are not supported.', {
    hint: 'Convert it first, giving qemu-img the key: qemu-img convert -O qcow2.',
  })
}
