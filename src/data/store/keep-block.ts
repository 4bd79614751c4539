import { hash } from 'node:crypto'
import type { Resources } from '#base/resources.ts'
import { encodeBlock } from '#data/block/block.ts'
import type { Codec } from '#data/codec/codec.ts'
import type { BlockStore, Digest } from './store.ts'

/** A block that is in the store now. */
export interface KeptBlock {
  /** 64 hex digits. */
  readonly digest: Digest
  /** Bytes at rest. */
  readonly storedLength: number
  /** Plain bytes. */
  readonly length: number
  /** Whether the store held it before. */
  readonly known: boolean
}

/** What a thread stores blocks with: addresses in the codec's memory that are its own. */
export interface KeepWith {
  readonly blocks: BlockStore
  readonly codec: Codec
  /** Each with room for maxStoredSize(BLOCK_SIZE) bytes. */
  readonly outputs: Resources<number>
  /** COMPRESS_TABLE_SIZE bytes. */
  readonly table: number
}

/**
 * Stores one block whose plain bytes lie at `address` in the codec's memory, where they are needed until this settles.
 * @returns undefined where it is all zeros
 */
export async function keepBlock(
  { blocks, codec, outputs, table }: KeepWith,
  address: number,
  length: number,
): Promise<KeptBlock | undefined> {
  if (codec.isZero(address, length)) return undefined
  const digest = hash('sha256', codec.bytes.subarray(address, address + length), 'hex')
  const claimed = await blocks.claim(digest)
  if (claimed !== undefined) return { digest, storedLength: claimed, length, known: true }
  const target = await outputs.acquire()
  try {
    const storedLength = encodeBlock(codec, { source: address, length, target, table })
    await blocks.put(digest, codec.bytes.subarray(target, target + storedLength))
    return { digest, storedLength, length, known: false }
  } finally {
    outputs.release(target)
  }
}
