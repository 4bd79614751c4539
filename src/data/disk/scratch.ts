import { BLOCK_SIZE, maxStoredSize } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE } from '#data/codec/codec.ts'
import type { StorePlace } from '#data/store/open-store.ts'

/** What there is for each block worker, and so how many blocks it has under way. */
export interface WorkerRoom {
  /** Blocks on their way from the network to the worker: one to come, and all that are being stored. */
  readonly slots: number
  /** Regions in which it gathers plain bytes by itself. */
  readonly regions: number
  /** Buffers for blocks at rest, so that one can be compressed while others are written. */
  readonly outputs: number
}

const FOR_FOLDER: WorkerRoom = { slots: 6, regions: 2, outputs: 3 }
/**
 * An object store takes a hundred times as long for a block: in the time of one, a worker stores as many as it has
 * under way (docs/decisions/0046-blocks-under-way-to-s3.md).
 */
const FOR_OBJECTS: WorkerRoom = { slots: 10, regions: 4, outputs: 6 }

export function roomFor(place: StorePlace): WorkerRoom {
  return typeof place === 'string' ? FOR_FOLDER : FOR_OBJECTS
}

/** The largest qcow2 cluster, two blocks. */
const REGION_SIZE = 2 * BLOCK_SIZE
const OUTPUT_SIZE = roundUp(maxStoredSize(BLOCK_SIZE))

function roundUp(length: number): number {
  return Math.ceil(length / 64) * 64
}

/** Bytes of shared memory that one block worker needs for itself; what it never fills, the system never gives. */
export function scratchSize({ regions, outputs }: WorkerRoom): number {
  return regions * REGION_SIZE + outputs * OUTPUT_SIZE + roundUp(COMPRESS_TABLE_SIZE)
}

/** Addresses of a worker's own buffers, from `start` on. */
export function scratchLayout(
  start: number,
  room: WorkerRoom,
): { regions: number[]; outputs: number[]; table: number } {
  const regions = Array.from({ length: room.regions }, (_, index) => start + index * REGION_SIZE)
  const afterRegions = start + room.regions * REGION_SIZE
  const outputs = Array.from({ length: room.outputs }, (_, index) => afterRegions + index * OUTPUT_SIZE)
  return { regions, outputs, table: afterRegions + room.outputs * OUTPUT_SIZE }
}
