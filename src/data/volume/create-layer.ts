import { type FileHandle, open, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { TiB } from '#base/bytes.ts'
import { assert, LibraryError } from '#base/errors.ts'
import { syncFolder } from '#base/sync-folder.ts'
import { attempting, systemCode } from '#data/store/storage-errors.ts'
import { CLUSTER_BITS, CLUSTER_SIZE, TABLE_ENTRIES } from './layer-shape.ts'
import type { CreateLayer } from './volume.ts'

const SECTOR = 512
/** Its L1 table has 1 MiB then. */
const MAX_SIZE = 64 * TiB
const HEADER_SIZE = 104
const MAGIC = 0x514649fb
const VERSION = 3
/** Refcounts of 16 bits. */
const REFCOUNT_ORDER = 4
const REFCOUNT_SIZE = 2

/** Places of what an empty file has, in clusters; one refcount block covers 2 GiB of file, and QEMU adds others. */
const REFCOUNT_TABLE = 1
const REFCOUNT_BLOCK = 2
const L1_TABLE = 3

export const createLayer: CreateLayer = async (path, size) => {
  assert(size > 0 && size <= MAX_SIZE && size % SECTOR === 0, `a layer of ${size} bytes`)
  const name = basename(path)
  await attempting(`make the layer ${name}`, async () => {
    await using file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
      if (systemCode(cause) !== 'EEXIST') throw cause
      throw new LibraryError('conflict', `make the layer ${name}: there is one of that name`, { cause })
    })
    try {
      await writeEmpty(file, size)
      await file.sync()
      await syncFolder(dirname(path))
    } catch (error) {
      await rm(path, { force: true })
      throw error
    }
  })
}

/** Writes what is not zero of a qcow2 file without data. @see QEMU docs/interop/qcow2.txt */
async function writeEmpty(file: FileHandle, size: number): Promise<void> {
  const l1Entries = Math.ceil(size / (TABLE_ENTRIES * CLUSTER_SIZE))
  const clusters = L1_TABLE + Math.ceil((l1Entries * 8) / CLUSTER_SIZE)
  await file.truncate(clusters * CLUSTER_SIZE)
  await file.write(makeHeader(size, l1Entries), 0, HEADER_SIZE, 0)
  const refcountTable = Buffer.alloc(8)
  refcountTable.writeBigUInt64BE(BigInt(REFCOUNT_BLOCK * CLUSTER_SIZE))
  await file.write(refcountTable, 0, refcountTable.length, REFCOUNT_TABLE * CLUSTER_SIZE)
  const refcounts = Buffer.alloc(clusters * REFCOUNT_SIZE)
  for (let cluster = 0; cluster < clusters; cluster++) refcounts.writeUInt16BE(1, cluster * REFCOUNT_SIZE)
  await file.write(refcounts, 0, refcounts.length, REFCOUNT_BLOCK * CLUSTER_SIZE)
}

function makeHeader(size: number, l1Entries: number): Buffer {
  const header = Buffer.alloc(HEADER_SIZE)
  header.writeUInt32BE(MAGIC, 0)
  header.writeUInt32BE(VERSION, 4)
  header.writeUInt32BE(CLUSTER_BITS, 20)
  header.writeBigUInt64BE(BigInt(size), 24)
  header.writeUInt32BE(l1Entries, 36)
  header.writeBigUInt64BE(BigInt(L1_TABLE * CLUSTER_SIZE), 40)
  header.writeBigUInt64BE(BigInt(REFCOUNT_TABLE * CLUSTER_SIZE), 48)
  // Clusters of the refcount table.
  header.writeUInt32BE(1, 56)
  header.writeUInt32BE(REFCOUNT_ORDER, 96)
  header.writeUInt32BE(HEADER_SIZE, 100)
  return header
}
