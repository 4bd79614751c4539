import type { BlockLoader } from '#data/form/disk-blocks.ts'
import type { BlockPool } from '#data/pool/block-pool.ts'

/** Loads blocks in the threads of a pool, into rooms that are lent to whoever reads. */
export function poolLoader(pool: BlockPool): BlockLoader {
  const load = async (
    block: Parameters<BlockLoader['plain']>[0],
    as: 'plain' | 'stored',
    signal: AbortSignal,
  ) => {
    const room = await pool.load(block, as, signal)
    const length = as === 'plain' ? block.length : block.storedLength
    return { bytes: room.bytes.subarray(0, length), [Symbol.dispose]: () => room[Symbol.dispose]() }
  }
  return {
    plain: (block, signal) => load(block, 'plain', signal),
    stored: (block, signal) => load(block, 'stored', signal),
  }
}
