import { KiB, type RandomBytes } from '#base/bytes.ts'
import { assert } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import { type CompressedExtent, ExtentQueue, type Qcow2Extent } from './extents.ts'
import { checkExtensions, HEADER_READ_SIZE, parseHeader, type Qcow2Header } from './header.ts'
import { HostMap } from './host-map.ts'
import { type L2Sink, readEntries, readL1Entry } from './l2-table.ts'
import { endsTooEarly, overlap } from './refusals.ts'

/** A qcow2 file, open for one walk over its disk. */
export interface Qcow2 {
  readonly version: 2 | 3
  /** Of the disk, a multiple of 512. */
  readonly virtualSize: number
  readonly clusterSize: number
  /** What a user may want to know, one sentence each. */
  readonly notes: readonly string[]
  /**
   * Walks the disk once, one table in memory at a time: extents in ascending order, never overlapping; what they
   * leave out is zeros. A plain extent may be cut anywhere, lies within one MiB of the disk, and is as long as disk
   * and file allow. A compressed one is a whole cluster, up to 2 MiB.
   * Extents do not wait for their data: whoever reads it may find that the file ends first, see `endsTooEarly`.
   * @throws Refusal bad-entry, overlap, truncated; or the signal's reason
   */
  extents(): AsyncGenerator<Qcow2Extent, void, undefined>
  /**
   * To be called once for each compressed extent when it is decoded, in any order.
   * @param consumed the bytes that its stream took
   * @throws Refusal overlap where another extent, a table or the header lies there; memory-limit
   */
  claimConsumed(extent: CompressedExtent, consumed: number): void
  /**
   * To be called when all extents were walked, decoded and claimed: only then is the disk known to be sound.
   * @throws Refusal truncated where the file lacks a part that nobody had to read
   */
  finish(): Promise<void>
}

/** L1 entries are read by so many bytes, L2 tables too where several stand together. */
const TABLES_READ_SIZE = 64 * KiB
/** Entries of an L2 table between two looks at the signal; bounds the extents in memory. */
const ENTRIES_AT_ONCE = 1024

/**
 * Reads the header of a qcow2 file, applying every rule that can be checked without the tables.
 * @param bytes may still be arriving; nothing is awaited but the bytes needed
 * @param virtualSizeLimit bytes that the disk may have
 * @param fileSizeLimit bytes that the file may have, where its size is not known yet
 * @throws Refusal, or the signal's reason
 */
export async function openQcow2(
  bytes: RandomBytes,
  options: {
    readonly virtualSizeLimit: number
    readonly fileSizeLimit: number
    readonly signal: AbortSignal
  },
): Promise<Qcow2> {
  const { virtualSizeLimit, signal } = options
  const head = new Uint8Array(HEADER_READ_SIZE)
  const got = await abortable(bytes.readAt(head, 0), signal)
  const header = parseHeader(head.subarray(0, got), virtualSizeLimit)
  const cluster = new Uint8Array(header.clusterSize)
  const clusterGot = await abortable(bytes.readAt(cluster, 0), signal)
  const notes = checkExtensions(cluster.subarray(0, clusterGot), header.headerLength)
  // The L1 table stands behind it.
  if (clusterGot < header.clusterSize) throw endsTooEarly(clusterGot)
  return new Qcow2Reader(bytes, { ...header, notes: [...header.notes, ...notes] }, options)
}

class Qcow2Reader implements Qcow2 {
  readonly version: 2 | 3
  readonly virtualSize: number
  readonly clusterSize: number
  readonly notes: readonly string[]
  readonly #bytes: RandomBytes
  readonly #header: Qcow2Header
  readonly #fileSizeLimit: number
  readonly #signal: AbortSignal
  readonly #map: HostMap
  readonly #queue = new ExtentQueue()
  readonly #sink: L2Sink
  readonly #l1Offset: number
  readonly #tableEntries: number
  #walk: 'new' | 'begun' | 'done' = 'new'
  #unclaimed = 0
  /** The file must have at least so many bytes. */
  #end = 0

  constructor(
    bytes: RandomBytes,
    header: Qcow2Header,
    { fileSizeLimit, signal }: { fileSizeLimit: number; signal: AbortSignal },
  ) {
    this.version = header.version
    this.virtualSize = header.virtualSize
    this.clusterSize = header.clusterSize
    this.notes = header.notes
    this.#bytes = bytes
    this.#header = header
    this.#fileSizeLimit = fileSizeLimit
    this.#signal = signal
    this.#map = new HostMap(header.clusterSize)
    this.#tableEntries = header.clusterSize / header.entrySize
    this.#sink = {
      cluster: (hostOffset) => this.#useCluster(hostOffset, 1),
      plain: (offset, length, hostOffset) => {
        this.#require(hostOffset + length)
        this.#queue.plain(offset, length, hostOffset)
      },
      compressed: (...place) => this.#addCompressed(...place),
    }
    // Inexact above 2^53, where only the comparison with the file's size follows.
    this.#l1Offset = Number(header.l1Offset)
    const l1End = this.#l1Offset + header.l1Count * 8
    this.#require(l1End)
    this.#map.claimCluster(0)
    for (let at = this.#l1Offset; at < l1End; at += header.clusterSize) this.#map.claimCluster(at)
  }

  async *extents(): AsyncGenerator<Qcow2Extent, void, undefined> {
    assert(this.#walk === 'new', 'a qcow2 file is walked once')
    this.#walk = 'begun'
    const { l1Count } = this.#header
    const piece = new Uint8Array(Math.min(TABLES_READ_SIZE, l1Count * 8))
    for (let first = 0; first < l1Count; first += piece.length / 8) {
      const count = Math.min(piece.length / 8, l1Count - first)
      const l1 = await this.#read(piece.subarray(0, count * 8), this.#l1Offset + first * 8)
      yield* this.#walkL1(l1, first)
    }
    yield* this.#queue.takeLast()
    this.#walk = 'done'
  }

  claimConsumed(extent: CompressedExtent, consumed: number): void {
    assert(consumed > 0 && consumed <= extent.hostLength, 'a stream stays within its bounds')
    this.#map.claimStream(extent.hostOffset, extent.hostOffset + consumed)
    this.#unclaimed--
  }

  async finish(): Promise<void> {
    assert(this.#walk === 'done' && this.#unclaimed === 0, 'every extent is walked and claimed')
    await this.#read(new Uint8Array(1), this.#end - 1)
  }

  /** @param first index of the L1 entry that `l1` begins with */
  async *#walkL1(l1: DataView, first: number): AsyncGenerator<Qcow2Extent, void, undefined> {
    const { clusterSize } = this.#header
    const buffer = new Uint8Array(Math.max(TABLES_READ_SIZE, clusterSize))
    const count = l1.byteLength / 8
    for (let index = 0; index < count; ) {
      const hostOffset = readL1Entry(this.#header, l1, index, first)
      if (hostOffset === 0) {
        index++
        continue
      }
      // Small tables that stand side by side are read together.
      let tables = 1
      const most = Math.min(buffer.length / clusterSize, count - index)
      while (
        tables < most &&
        readL1Entry(this.#header, l1, index + tables, first) === hostOffset + tables * clusterSize
      ) {
        tables++
      }
      for (let table = 0; table < tables; table++) {
        this.#useCluster(hostOffset + table * clusterSize, clusterSize)
      }
      await this.#read(buffer.subarray(0, tables * clusterSize), hostOffset)
      for (let table = 0; table < tables; table++) {
        const l2 = new DataView(buffer.buffer, table * clusterSize, clusterSize)
        yield* this.#walkL2(l2, (first + index + table) * this.#tableEntries)
      }
      index += tables
    }
  }

  /** @param firstCluster the guest cluster of the table's first entry */
  *#walkL2(l2: DataView, firstCluster: number): Generator<Qcow2Extent, void, undefined> {
    const clusters = Math.ceil(this.virtualSize / this.clusterSize)
    const count = Math.min(this.#tableEntries, clusters - firstCluster)
    for (let from = 0; from < count; from += ENTRIES_AT_ONCE) {
      this.#signal.throwIfAborted()
      const to = Math.min(from + ENTRIES_AT_ONCE, count)
      readEntries(this.#header, l2, firstCluster, { from, to }, this.#sink)
      yield* this.#queue.take()
    }
  }

  #addCompressed(offset: number, length: number, hostOffset: number, mostLength: number): void {
    this.#require(hostOffset + 1)
    // The whole stream is claimed when it is decoded; what cannot be one need not be.
    if (this.#map.holdsCluster(hostOffset)) throw overlap(hostOffset)
    const hostLength = Math.min(mostLength, (this.#bytes.size ?? Number.POSITIVE_INFINITY) - hostOffset)
    const { compression } = this.#header
    this.#queue.compressed({ kind: 'compressed', offset, length, hostOffset, hostLength, compression })
    this.#unclaimed++
  }

  /** @param length bytes of the cluster that the file must have */
  #useCluster(hostOffset: number, length: number): void {
    this.#require(hostOffset + length)
    this.#map.claimCluster(hostOffset)
  }

  #require(end: number): void {
    const { size } = this.#bytes
    if (size === undefined && end > this.#fileSizeLimit) {
      throw new Refusal(
        'truncated',
        `The image needs a file of ${end} bytes, and ${this.#fileSizeLimit} is the limit.`,
      )
    }
    if (size !== undefined && end > size) throw endsTooEarly(size)
    if (end > this.#end) this.#end = end
  }

  async #read(target: Uint8Array, offset: number): Promise<DataView> {
    const got = await abortable(this.#bytes.readAt(target, offset), this.#signal)
    if (got < target.length) throw endsTooEarly(this.#bytes.size ?? offset + got)
    return new DataView(target.buffer, target.byteOffset, target.byteLength)
  }
}

/** Waits for `work`, or for the signal, whichever comes first. */
function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    const settled = () => signal.removeEventListener('abort', abort)
    work.then(resolve, reject).finally(settled)
  })
}
