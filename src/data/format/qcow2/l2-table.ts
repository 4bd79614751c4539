import type { Qcow2Header } from './header.ts'
import { badEntry } from './refusals.ts'

/** What L2 entries mean, in ascending guest order. All in bytes, cut at the virtual size. */
export interface L2Sink {
  /** A cluster that is said to read as zeros (version 3, entries of 8 bytes); one that is not there is not told. */
  zeros?(offset: number, length: number): void
  /** `hostOffset` is the start of a host cluster, and is in use whatever else is told of it. */
  cluster(hostOffset: number): void
  /** Data in that host cluster; several of them where only parts of it are data. */
  plain(offset: number, length: number, hostOffset: number): void
  /**
   * A compressed cluster: `length` is what the guest sees of it, `hostLength` the most that its stream may take.
   * `hostOffset` is inexact above 2^53, where it stands for "far beyond any file".
   */
  compressed(offset: number, length: number, hostOffset: number, hostLength: number): void
}

const TWO_32 = 2 ** 32
const SECTOR = 512
const SUBCLUSTERS = 32
const L1_RESERVED_HIGH = 0x7f000000
const L1_RESERVED_LOW = 0x1ff
/** Bits 56 to 61 of a standard entry, in its high word. */
const RESERVED_HIGH = 0x3f000000
const RESERVED_LOW = 0x1fe
const COPIED_HIGH = 0x80000000
const COMPRESSED_HIGH = 0x40000000
const OFFSET_HIGH = 0x00ffffff
const OFFSET_LOW = 0xfffffe00
const READS_AS_ZEROS = 1

/**
 * Reads one entry of an L1 table.
 * @param l1 a part of the table
 * @param index of the entry in that part
 * @param first index in the table of the part's entry 0
 * @returns where the L2 table is; 0 where there is none
 * @throws Refusal bad-entry
 * @see QEMU docs/interop/qcow2.txt, "Cluster mapping"
 */
export function readL1Entry(
  { clusterSize, entrySize }: Pick<Qcow2Header, 'clusterSize' | 'entrySize'>,
  l1: DataView,
  index: number,
  first: number,
): number {
  const high = l1.getUint32(index * 8)
  const low = l1.getUint32(index * 8 + 4)
  const hostOffset = (high & OFFSET_HIGH) * TWO_32 + low
  if ((high & L1_RESERVED_HIGH) !== 0 || (low & L1_RESERVED_LOW) !== 0 || hostOffset % clusterSize !== 0) {
    throw badEntry('L1', (first + index) * (clusterSize / entrySize) * clusterSize)
  }
  return hostOffset
}

/**
 * Reads entries of one L2 table.
 * @param table the table's cluster
 * @param firstCluster the guest cluster of the table's entry 0
 * @param from index of the first entry to read
 * @param to index after the last entry to read; none may lie wholly past the virtual size
 * @throws Refusal bad-entry, or what the sink throws
 * @see QEMU docs/interop/qcow2.txt, "Cluster mapping"
 */
export function readEntries(
  header: Qcow2Header,
  table: DataView,
  firstCluster: number,
  { from, to }: { from: number; to: number },
  sink: L2Sink,
): void {
  const { clusterSize, virtualSize, entrySize } = header
  for (let index = from; index < to; index++) {
    const at = index * entrySize
    const high = table.getUint32(at)
    const low = table.getUint32(at + 4)
    const allocated = entrySize === 16 ? table.getUint32(at + 12) : 0
    const zeros = entrySize === 16 ? table.getUint32(at + 8) : 0
    if ((high | low | allocated | zeros) === 0) continue
    const offset = (firstCluster + index) * clusterSize
    const length = Math.min(clusterSize, virtualSize - offset)
    if (high & COMPRESSED_HIGH) {
      if ((allocated | zeros) !== 0) throw badEntry('L2', offset)
      readCompressed(header.clusterBits, { offset, length, high, low }, sink)
    } else {
      readStandard(header, { offset, length, high, low, allocated, zeros }, sink)
    }
  }
}

interface Entry {
  readonly offset: number
  readonly length: number
  readonly high: number
  readonly low: number
}

function readCompressed(clusterBits: number, { offset, length, high, low }: Entry, sink: L2Sink): void {
  // The host offset has 62 - (clusterBits - 8) bits, 49 to 61 of them, so it always ends in the high word.
  const offsetBitsHigh = 62 - (clusterBits - 8) - 32
  const hostHigh = high & ((1 << offsetBitsHigh) - 1)
  if (hostHigh > OFFSET_HIGH) throw badEntry('L2', offset)
  const moreSectors = (high & (COMPRESSED_HIGH - 1)) >>> offsetBitsHigh
  const hostLength = (moreSectors + 1) * SECTOR - (low % SECTOR)
  sink.compressed(offset, length, hostHigh * TWO_32 + low, hostLength)
}

function readStandard(
  header: Qcow2Header,
  { offset, length, high, low, allocated, zeros }: Entry & { allocated: number; zeros: number },
  sink: L2Sink,
): void {
  const isExtended = header.entrySize === 16
  // A multiple of 512 below 2^56 is exact.
  const hostOffset = (high & OFFSET_HIGH) * TWO_32 + ((low & OFFSET_LOW) >>> 0)
  const readsAsZeros = (low & READS_AS_ZEROS) !== 0
  if (
    (high & RESERVED_HIGH) !== 0 ||
    (low & RESERVED_LOW) !== 0 ||
    (readsAsZeros && (header.version === 2 || isExtended)) ||
    hostOffset % header.clusterSize !== 0 ||
    // "Host offset 0" exists in external data files only.
    (hostOffset === 0 && ((high & COPIED_HIGH) !== 0 || allocated !== 0)) ||
    (allocated & zeros) !== 0
  ) {
    throw badEntry('L2', offset)
  }
  if (readsAsZeros) sink.zeros?.(offset, length)
  if (hostOffset === 0) return
  sink.cluster(hostOffset)
  if (isExtended) {
    readSubclusters(header.clusterSize / SUBCLUSTERS, { offset, length, hostOffset, allocated }, sink)
  } else if (!readsAsZeros) {
    sink.plain(offset, length, hostOffset)
  }
}

function readSubclusters(
  size: number,
  cluster: { offset: number; length: number; hostOffset: number; allocated: number },
  sink: L2Sink,
): void {
  const { offset, length, hostOffset, allocated } = cluster
  for (let rest = allocated; rest !== 0; ) {
    const first = trailingZeros(rest)
    const after = first + trailingZeros(~(rest >>> first))
    const start = first * size
    if (start >= length) return
    sink.plain(offset + start, Math.min(after * size, length) - start, hostOffset + start)
    rest = after === SUBCLUSTERS ? 0 : rest & (-1 << after)
  }
}

/** @returns 32 for 0 */
function trailingZeros(word: number): number {
  return word === 0 ? SUBCLUSTERS : 31 - Math.clz32(word & -word)
}
