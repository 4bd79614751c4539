import { TiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { BLOCK_SIZE, blockCount, blockLength, storedZeroBlock } from '#data/block/block.ts'

/**
 * Where everything in a manifest lies (docs/design.md "Manifests"): the root, which is a header and a table of pages,
 * then the pages that name at least one block.
 */

const MAGIC = 'ImgLibMf'
const VERSION = 1
/** Blocks that one page covers: 512 MiB of disk. */
export const PAGE_BLOCKS = 512
export const DIGEST_SIZE = 32
/** A page's entry: digest, le32 bytes at rest. */
export const ENTRY_SIZE = DIGEST_SIZE + 4
export const PAGE_SIZE = PAGE_BLOCKS * ENTRY_SIZE
export const HEADER_SIZE = 64
/** The table's entry: SHA-256 of the page, le64 data blocks before it, le64 bytes at rest before it. */
export const TABLE_ENTRY_SIZE = DIGEST_SIZE + 16
/** Keeps a root, which is held in memory, under 6 MiB + 64 bytes. */
export const MAX_DISK_SIZE = 64 * TiB

/** What a manifest says about its disk as a whole. */
export interface ManifestHeader {
  /** Bytes. */
  readonly diskSize: number
  readonly blockCount: number
  /** Blocks that are not all zeros. */
  readonly dataBlocks: number
  /** Bytes at rest of all blocks, with the constant encoding of the zero ones: what lies inside the LZ4 frame. */
  readonly storedSize: number
}

export function pageCount(blocks: number): number {
  return Math.ceil(blocks / PAGE_BLOCKS)
}

/** Blocks on a page; the last may have fewer. */
export function pageBlocks(blocks: number, page: number): number {
  return Math.min(PAGE_BLOCKS, blocks - page * PAGE_BLOCKS)
}

export function rootSize(blocks: number): number {
  return HEADER_SIZE + pageCount(blocks) * TABLE_ENTRY_SIZE
}

/** Bytes at rest of the zero blocks among `count` blocks from `first` on, where all of them are zero. */
export function zeroStoredSize(diskSize: number, first: number, count: number): number {
  if (count === 0) return 0
  const last = blockLength(diskSize, first + count - 1)
  return (count - 1) * storedZeroBlock(BLOCK_SIZE).length + storedZeroBlock(last).length
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function readU32(bytes: Uint8Array, offset: number): number {
  return viewOf(bytes).getUint32(offset, true)
}

export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  viewOf(bytes).setUint32(offset, value, true)
}

/** Values above 2^53 come back rounded; every caller compares with far smaller limits. */
export function readU64(bytes: Uint8Array, offset: number): number {
  return Number(viewOf(bytes).getBigUint64(offset, true))
}

export function writeU64(bytes: Uint8Array, offset: number, value: number): void {
  viewOf(bytes).setBigUint64(offset, BigInt(value), true)
}

export function writeHeader(root: Uint8Array, header: ManifestHeader): void {
  root.set(Buffer.from(MAGIC, 'latin1'))
  writeU32(root, 8, VERSION)
  writeU32(root, 12, BLOCK_SIZE)
  writeU64(root, 16, header.diskSize)
  writeU64(root, 24, header.blockCount)
  writeU64(root, 32, header.dataBlocks)
  writeU64(root, 40, header.storedSize)
  writeU32(root, 48, PAGE_BLOCKS)
  writeU32(root, 52, pageCount(header.blockCount))
}

/**
 * Reads HEADER_SIZE bytes; every count in them agrees with the disk size, which is at most MAX_DISK_SIZE.
 * @throws corrupt
 */
export function readHeader(bytes: Uint8Array): ManifestHeader {
  const magic = Buffer.from(bytes.subarray(0, MAGIC.length)).toString('latin1')
  if (magic !== MAGIC) throw corrupt('it does not begin like one')
  const version = readU32(bytes, 8)
  if (version !== VERSION) throw corrupt(`its version is ${version}`)
  const diskSize = readU64(bytes, 16)
  if (diskSize > MAX_DISK_SIZE) throw corrupt(`its disk has ${diskSize} bytes`)
  const blocks = blockCount(diskSize)
  const header = {
    diskSize,
    blockCount: readU64(bytes, 24),
    dataBlocks: readU64(bytes, 32),
    storedSize: readU64(bytes, 40),
  }
  const agrees =
    readU32(bytes, 12) === BLOCK_SIZE &&
    header.blockCount === blocks &&
    header.dataBlocks <= blocks &&
    readU32(bytes, 48) === PAGE_BLOCKS &&
    readU32(bytes, 52) === pageCount(blocks) &&
    readU64(bytes, 56) === 0
  if (!agrees) throw corrupt('the counts in its header do not agree')
  return header
}

export function corrupt(what: string): LibraryError {
  return new LibraryError('corrupt', `read a manifest: ${what}`)
}
