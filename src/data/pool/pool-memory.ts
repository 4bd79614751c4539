import { BLOCK_SIZE, maxStoredSize } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE } from '#data/codec/codec.ts'
import type { StorePlace } from '#data/store/open-store.ts'

const PAGE_SIZE = 65_536
/** The first page stays free, so that an address of 0 is always a mistake. */
const RESERVED = PAGE_SIZE
/** Buffers for blocks at rest of one worker, so that one can be compressed while others are written or read. */
const FOLDER_OUTPUTS = 2
/** An object store takes a hundred times as long, whoever waits. */
const OBJECTS_OUTPUTS = 6

const roundUp = (length: number, unit: number): number => Math.ceil(length / unit) * unit

const OUTPUT_SIZE = roundUp(maxStoredSize(BLOCK_SIZE), 64)
/** Room for a block, plain or at rest. */
export const SLOT_SIZE = roundUp(maxStoredSize(BLOCK_SIZE), 4096)
export const outputsFor = (place: StorePlace): number =>
  typeof place === 'string' ? FOLDER_OUTPUTS : OBJECTS_OUTPUTS

/** Bytes of a worker's own buffers; what it never fills, the system never gives. */
const scratchSize = (outputs: number) => roundUp(outputs * OUTPUT_SIZE + COMPRESS_TABLE_SIZE, PAGE_SIZE)

/** Addresses of a worker's own buffers. */
export function scratchLayout(start: number, count: number): { outputs: number[]; table: number } {
  const outputs = Array.from({ length: count }, (_, index) => start + index * OUTPUT_SIZE)
  return { outputs, table: start + count * OUTPUT_SIZE }
}

/** Where everything lies in the memory that a pool's threads share. @param outputs of each thread */
export function poolLayout(threads: number, slots: number, outputs: number) {
  const scratch = scratchSize(outputs)
  const slotsStart = RESERVED + threads * scratch
  return {
    size: slotsStart + slots * SLOT_SIZE,
    scratch: Array.from({ length: threads }, (_, index) => RESERVED + index * scratch),
    slots: Array.from({ length: slots }, (_, index) => slotsStart + index * SLOT_SIZE),
  }
}
