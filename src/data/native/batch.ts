import { assert } from '#base/errors.ts'
import { decodeCluster } from '#data/format/qcow2/cluster.ts'
import type { Qcow2Compression } from '#data/format/qcow2/header.ts'
import { faults } from './faults.ts'

/**
 * A batch of compressed clusters and its answer, as they cross the border: bytes, and numbers of 32 bits.
 * Batch: cluster size, compression, count, lengths; the clusters as they are compressed.
 * Answer: as many clusters; how much each took of its bytes, 0 from the first on that cannot be decoded.
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
  const bytes = new Uint8Array(4 * (FIELDS + inputs.length))
  writeNumbers(bytes, 0, [...fields, ...inputs.map(({ length }) => length)])
  return [bytes, ...inputs]
}

/**
 * Decodes a batch.
 * @param memory gives as many bytes as the answer has
 */
export function decodeBatch(bytes: Uint8Array, memory: (length: number) => Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const field = (index: number) => view.getUint32(4 * index, true)
  const [clusterSize, compression, count] = [field(0), COMPRESSIONS[field(1)], field(2)]
  assert(compression, 'the compression is known')
  const answer = memory(count * (clusterSize + CONSUMED_SIZE))
  const consumed = new Array<number>(count).fill(0)
  let at = 4 * (FIELDS + count)
  try {
    for (let index = 0; index < count; index++) {
      const input = bytes.subarray(at, at + field(FIELDS + index))
      at += input.length
      const decoded = decodeCluster(input, { clusterSize, compression, offset: 0 })
      consumed[index] = decoded.consumed
      answer.set(decoded.bytes, index * clusterSize)
    }
  } catch {
    // Its user knows which one it is, and where that lies.
  }
  writeNumbers(answer, count * clusterSize, consumed)
  return answer
}

function writeNumbers(target: Uint8Array, at: number, values: readonly number[]): void {
  const view = new DataView(target.buffer, target.byteOffset, target.length)
  for (const [index, value] of values.entries()) view.setUint32(at + 4 * index, value, true)
}

/** What an answer has for each cluster, besides its bytes. */
export const CONSUMED_SIZE = 4

/**
 * Reads how much each cluster of a batch took of its input, 0 from the first bad one on; nothing is believed that a
 * decoder could lie about.
 * @throws Error where that cannot be
 */
export function parseConsumed(bytes: Uint8Array, { inputs }: Batch): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let bad = false
  return inputs.map(({ length }, index) => {
    const count = view.getUint32(CONSUMED_SIZE * index, true)
    if (count > length || (bad && count > 0)) throw faults.notAnAnswer()
    bad = count === 0
    return count
  })
}
