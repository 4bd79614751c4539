import { BLOCK_SIZE, maxStoredSize } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE } from '#data/codec/codec.ts'

/** Regions in which a worker gathers plain bytes: the largest qcow2 cluster, two blocks. */
export const REGIONS = 2
export const REGION_SIZE = 2 * BLOCK_SIZE
/** Buffers for blocks at rest, so that one can be compressed while others are written. */
export const OUTPUTS = 3
export const OUTPUT_SIZE = roundUp(maxStoredSize(BLOCK_SIZE))

function roundUp(length: number): number {
  return Math.ceil(length / 64) * 64
}

/** Bytes of shared memory that one block worker needs for itself. */
export const SCRATCH_SIZE = REGIONS * REGION_SIZE + OUTPUTS * OUTPUT_SIZE + roundUp(COMPRESS_TABLE_SIZE)

/** Addresses of a worker's own buffers, from `start` on. */
export function scratchLayout(start: number): { regions: number[]; outputs: number[]; table: number } {
  const regions = Array.from({ length: REGIONS }, (_, index) => start + index * REGION_SIZE)
  const afterRegions = start + REGIONS * REGION_SIZE
  const outputs = Array.from({ length: OUTPUTS }, (_, index) => afterRegions + index * OUTPUT_SIZE)
  return { regions, outputs, table: afterRegions + OUTPUTS * OUTPUT_SIZE }
}
