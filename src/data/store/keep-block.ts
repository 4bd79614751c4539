import { hash } from 'node:crypto'
import type { Resources } from '#base/resources.ts'
import { BLOCK_SIZE, encodeBlock, isStoredFrom, maxStoredSize } from '#data/block/block.ts'
import type { Codec } from '#data/codec/codec.ts'
import { isDamage, readTwice } from './storage-errors.ts'
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
  const plain = codec.bytes.subarray(address, address + length)
  const digest = hash('sha256', plain, 'hex')
  // Before it has room, so that it asks while others are written.
  const claimed = await claim(blocks, digest)
  const target = await outputs.acquire()
  try {
    const room = codec.bytes.subarray(target, target + maxStoredSize(BLOCK_SIZE))
    const isKnown = typeof claimed === 'number' && (await isSound({ blocks, digest, plain, room }, claimed))
    if (isKnown) return { digest, storedLength: claimed, length, known: true }
    const storedLength = encodeBlock(codec, { source: address, length, target, table })
    await blocks[claimed === undefined ? 'put' : 'mend'](digest, room.subarray(0, storedLength))
    return { digest, storedLength, length, known: false }
  } finally {
    outputs.release(target)
  }
}

/** @returns its size at rest in bytes; undefined where it is not stored */
async function claim(blocks: BlockStore, digest: Digest): Promise<number | 'damaged' | undefined> {
  try {
    return await blocks.claim(digest)
  } catch (error) {
    if (isDamage(error)) return 'damaged'
    throw error
  }
}

/**
 * Compares a block that is stored with the bytes at hand: a name alone would make one image after another of a block
 * that is damaged.
 */
async function isSound(
  block: {
    readonly blocks: BlockStore
    readonly digest: Digest
    readonly plain: Uint8Array
    readonly room: Uint8Array
  },
  claimed: number,
): Promise<boolean> {
  const { blocks, digest, plain, room } = block
  try {
    const size = await readTwice(() => blocks.readInto(digest, room))
    return size === claimed && isStoredFrom(room.subarray(0, size), plain)
  } catch (error) {
    if (isDamage(error)) return false
    throw error
  }
}
