import { BLOCK_SIZE, maxStoredSize } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE } from '#data/codec/codec.ts'

const PAGE_SIZE = 65_536
/** The first page stays free, so that an address of 0 is always a mistake. */
const RESERVED = PAGE_SIZE
/** Buffers for blocks at rest, so that one can be compressed while another is written. */
const OUTPUTS = 2

const roundUp = (length: number, unit: number): number => Math.ceil(length / unit) * unit

const OUTPUT_SIZE = roundUp(maxStoredSize(BLOCK_SIZE), 64)
/** Room for a block, plain or at rest. */
export const SLOT_SIZE = roundUp(maxStoredSize(BLOCK_SIZE), 4096)
/** A worker's own buffers. */
const SCRATCH_SIZE = roundUp(OUTPUTS * OUTPUT_SIZE + COMPRESS_TABLE_SIZE, PAGE_SIZE)

/** Addresses of a worker's own buffers. */
export function scratchLayout(start: number): { outputs: number[]; table: number } {
  const outputs = Array.from({ length: OUTPUTS }, (_, index) => start + index * OUTPUT_SIZE)
  return { outputs, table: start + OUTPUTS * OUTPUT_SIZE }
}

/** Where everything lies in the memory that a pool's threads share. */
export function poolLayout(threads: number, slots: number) {
  const slotsStart = RESERVED + threads * SCRATCH_SIZE
  return {
    size: slotsStart + slots * SLOT_SIZE,
    scratch: Array.from({ length: threads }, (_, index) => RESERVED + index * SCRATCH_SIZE),
    slots: Array.from({ length: slots }, (_, index) => slotsStart + index * SLOT_SIZE),
  }
}
