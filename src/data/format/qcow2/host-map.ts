import { overlap } from './refusals.ts'
import { SpanSet } from './span-set.ts'

/** Clusters of one piece of the bitmap: 8 KiB of it. */
const PIECE_CLUSTERS = 64 * 1024
const NO_PIECE = new Uint32Array(0)

/**
 * Which bytes of the file are in use, so that none has two uses: whole host clusters (header, tables, data), and
 * the byte spans of compressed streams. The order of claims does not matter. Takes one bit per host cluster,
 * in pieces of 8 KiB where clusters are claimed, and what SpanSet takes for the streams.
 * The caller keeps offsets inside the file, which bounds all of it.
 */
export class HostMap {
  readonly #clusterSize: number
  readonly #pieces = new Map<number, Uint32Array>()
  readonly #streams = new SpanSet()
  /** The piece used last: claims mostly come in order. */
  #pieceNumber = -1
  #piece: Uint32Array = NO_PIECE

  constructor(clusterSize: number) {
    this.#clusterSize = clusterSize
  }

  /**
   * @param offset in bytes, a multiple of the cluster size
   * @throws Refusal overlap
   */
  claimCluster(offset: number): void {
    const cluster = offset / this.#clusterSize
    const piece = this.#pieceOf(cluster, true)
    // Cluster numbers may exceed 32 bits; their low bits survive a bitwise operator all the same.
    const word = (cluster % PIECE_CLUSTERS) >>> 5
    const bit = 1 << (cluster & 31)
    const bits = piece[word] ?? 0
    if (bits & bit || this.#streams.overlaps(offset, offset + this.#clusterSize)) throw overlap(offset)
    piece[word] = bits | bit
  }

  /**
   * Claims the bytes of a compressed stream, which may run across host clusters.
   * @throws Refusal overlap, memory-limit
   */
  claimStream(start: number, end: number): void {
    for (let at = start - (start % this.#clusterSize); at < end; at += this.#clusterSize) {
      if (this.holdsCluster(at)) throw overlap(Math.max(at, start))
    }
    if (!this.#streams.add(start, end)) throw overlap(start)
  }

  /** Whether the cluster around `offset` is claimed as a whole. */
  holdsCluster(offset: number): boolean {
    const cluster = Math.floor(offset / this.#clusterSize)
    const word = this.#pieceOf(cluster, false)[(cluster % PIECE_CLUSTERS) >>> 5] ?? 0
    return (word & (1 << (cluster & 31))) !== 0
  }

  #pieceOf(cluster: number, make: boolean): Uint32Array {
    const number = Math.floor(cluster / PIECE_CLUSTERS)
    if (number === this.#pieceNumber) return this.#piece
    let piece = this.#pieces.get(number)
    if (!piece) {
      if (!make) return NO_PIECE
      piece = new Uint32Array(PIECE_CLUSTERS / 32)
      this.#pieces.set(number, piece)
    }
    this.#pieceNumber = number
    this.#piece = piece
    return piece
  }
}
