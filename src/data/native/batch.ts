import { assert } from '#base/errors.ts'
import { decodeCluster } from '#data/format/qcow2/cluster.ts'
import type { Qcow2Compression } from '#data/format/qcow2/header.ts'
import { faults } from './faults.ts'

/**
 * A batch of compressed clusters and its answer, as they cross the border: numbers of 32 bits, then bytes.
 * Batch: cluster size, compression, count, lengths; the clusters as they are compressed.
 * Answer: how much each took of its bytes, 0 from the first on that cannot be decoded; the clusters before that one.
 */
const COMPRESSIONS: readonly Qcow2Compression[] = ['deflate', 'zstd']
const FIELDS = 3

export interface Batch {
  readonly clusterSize: number
  readonly compression: Qcow2Compression
  /** None of them empty. */
  readonly inputs: readonly Uint8Array[]
}

export function printBatch({ clusterSize, compression, inputs }: Batch): Uint8Array[] {
  const fields = [clusterSize, COMPRESSIONS.indexOf(compression), inputs.length]
  return [numbers([...fields, ...inputs.map(({ length }) => length)]), ...inputs]
}

/** Decodes a batch; gives the parts of its answer. */
export function decodeBatch(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const field = (index: number) => view.getUint32(4 * index, true)
  const [clusterSize, compression, count] = [field(0), COMPRESSIONS[field(1)], field(2)]
  assert(compression, 'the compression is known')
  const consumed = new Array<number>(count).fill(0)
  const clusters: Uint8Array[] = []
  let at = 4 * (FIELDS + count)
  try {
    for (let index = 0; index < count; index++) {
      const input = bytes.subarray(at, at + field(FIELDS + index))
      at += input.length
      const decoded = decodeCluster(input, { clusterSize, compression, offset: 0 })
      consumed[index] = decoded.consumed
      clusters.push(decoded.bytes)
    }
  } catch {
    // Its user knows which one it is, and where that lies.
  }
  return [numbers(consumed), ...clusters]
}

function numbers(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, true)
  return bytes
}

export interface BatchAnswer {
  /** Bytes that each took of its input, 0 from the first bad one on. */
  readonly consumed: readonly number[]
  /** Those before that one, of the size that was asked for. */
  readonly clusters: readonly Uint8Array[]
}

/**
 * Reads the answer to a batch, of which nothing is believed that it could lie about.
 * @throws Error where it cannot be an answer to this batch
 */
export function parseAnswer(bytes: Uint8Array, { clusterSize, inputs }: Batch): BatchAnswer {
  const start = 4 * inputs.length
  const good = (bytes.length - start) / clusterSize
  if (!Number.isInteger(good) || good < 0 || good > inputs.length) throw faults.notAnAnswer()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const consumed = inputs.map(({ length }, index) => {
    const count = view.getUint32(4 * index, true)
    if (count > length || count > 0 !== index < good) throw faults.notAnAnswer()
    return count
  })
  const clusters = Array.from({ length: good }, (_, index) => {
    const at = start + index * clusterSize
    return bytes.subarray(at, at + clusterSize)
  })
  return { consumed, clusters }
}

/** The longest answer to a batch, in bytes. */
export const answerSize = ({ clusterSize, inputs }: Batch): number => inputs.length * (4 + clusterSize)
