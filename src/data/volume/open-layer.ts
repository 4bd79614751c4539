import { KiB } from '#base/bytes.ts'
import { Refusal } from '#base/refusal.ts'
import {
  checkExtensions,
  HEADER_READ_SIZE,
  parseHeader,
  type Qcow2Header,
} from '#data/format/qcow2/header.ts'
import { type L2Sink, readEntries, readL1Entry } from '#data/format/qcow2/l2-table.ts'
import { endsTooEarly } from '#data/format/qcow2/refusals.ts'
import { LayerParts } from './layer-parts.ts'
import { CLUSTER_SIZE, TABLE_ENTRIES } from './layer-shape.ts'
import { type OwnFile, openOwnFile } from './own-file.ts'
import type { LayerPart, LayerReader, OpenLayer } from './volume.ts'

/** An L1 table is read by so many bytes, whatever its length. */
const L1_READ_SIZE = 64 * KiB
/** Entries of an L2 table between two looks at the signal; bounds the parts in memory. */
const ENTRIES_AT_ONCE = 1024

/**
 * Opens a layer that QEMU wrote. QEMU serves a guest, who may have taken it over, so nothing in the file is believed:
 * memory is flat, every place is looked up in this file alone, and the worst that it can do is to say what this one
 * guest's disk holds. A backing file's name is not even read.
 * @throws Refusal where it has not the shape that `createLayer` gave it; not_found; unavailable
 */
export const openLayer: OpenLayer = async (path, { sizeLimit }) => {
  await using opening = new AsyncDisposableStack()
  const file = opening.use(await openOwnFile(path))
  const cluster = new Uint8Array(CLUSTER_SIZE)
  const got = await file.readAt(cluster, 0)
  const head = cluster.subarray(0, Math.min(got, HEADER_READ_SIZE))
  const header = parseHeader(head, sizeLimit, 'ignored')
  checkShape(header)
  checkExtensions(cluster.subarray(0, got), header.headerLength)
  opening.move()
  return new Layer(file, header)
}

/**
 * Refcounts may be wrong, for they are not looked at: so a layer that was not closed cleanly is as good as any.
 * @throws Refusal
 */
function checkShape({ version, clusterSize, entrySize }: Qcow2Header): void {
  if (version === 3 && clusterSize === CLUSTER_SIZE && entrySize === 8) return
  throw new Refusal(
    'bad-header',
    `The layer was not made here: version ${version}, clusters of ${clusterSize} bytes, entries of ${entrySize}.`,
  )
}

class Layer implements LayerReader {
  readonly #file: OwnFile
  readonly #header: Qcow2Header

  constructor(file: OwnFile, header: Qcow2Header) {
    this.#file = file
    this.#header = header
  }

  get size(): number {
    return this.#header.virtualSize
  }

  async *parts(signal: AbortSignal): AsyncGenerator<LayerPart> {
    const { l1Offset, l1Count } = this.#header
    const parts = new LayerParts()
    const sink = toSink(parts, this.#file.size)
    const l1 = new Uint8Array(Math.min(L1_READ_SIZE, l1Count * 8))
    const l2 = new Uint8Array(CLUSTER_SIZE)
    // Inexact only far beyond the end of any file.
    const l1Start = Number(l1Offset)
    for (let first = 0; first < l1Count; first += l1.length / 8) {
      const count = Math.min(l1.length / 8, l1Count - first)
      const entries = await this.#readTable(l1.subarray(0, count * 8), l1Start + first * 8)
      for (let index = 0; index < count; index++) {
        signal.throwIfAborted()
        const place = readL1Entry(this.#header, entries, index, first)
        if (place === 0) continue
        const table = await this.#readTable(l2, place)
        yield* this.#walkTable(table, { first: (first + index) * TABLE_ENTRIES, parts, sink, signal })
      }
    }
    yield* parts.takeLast()
  }

  *#walkTable(
    table: DataView,
    walk: {
      readonly first: number
      readonly parts: LayerParts
      readonly sink: L2Sink
      readonly signal: AbortSignal
    },
  ): Generator<LayerPart> {
    const { first, parts, sink, signal } = walk
    const count = Math.min(TABLE_ENTRIES, Math.ceil(this.size / CLUSTER_SIZE) - first)
    for (let from = 0; from < count; from += ENTRIES_AT_ONCE) {
      signal.throwIfAborted()
      const to = Math.min(from + ENTRIES_AT_ONCE, count)
      readEntries(this.#header, table, first, { from, to }, sink)
      yield* parts.take()
    }
  }

  async #readTable(target: Uint8Array, offset: number): Promise<DataView> {
    if (offset + target.length > this.#file.size) throw endsTooEarly(this.#file.size)
    const got = await this.#file.readAt(target, offset)
    if (got < target.length) throw endsTooEarly(offset + got)
    return new DataView(target.buffer, target.byteOffset, target.byteLength)
  }

  async readAt(target: Uint8Array, hostOffset: number): Promise<void> {
    const got = await this.#file.readAt(target, hostOffset)
    target.fill(0, got)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]()
  }
}

/**
 * Data past the end of the file are zeros, as QEMU reads them: so it can be where the host lost its power before the
 * guest had flushed.
 */
function toSink(parts: LayerParts, fileSize: number): L2Sink {
  return {
    cluster() {},
    zeros: (offset, length) => parts.add(offset, length, undefined),
    plain: (offset, length, hostOffset) =>
      parts.add(offset, length, hostOffset < fileSize ? hostOffset : undefined),
    compressed(offset) {
      throw new Refusal('bad-entry', `The layer has a compressed cluster at disk offset ${offset}.`)
    },
  }
}
