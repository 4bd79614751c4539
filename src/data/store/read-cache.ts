import { randomUUID } from 'node:crypto'
import * as nodeFiles from 'node:fs/promises'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { verifyStored } from '#data/block/block.ts'
import { createReserve } from './reserve.ts'
import { systemCode } from './storage-errors.ts'
import type { BlockStore, Digest } from './store.ts'

/** Where blocks that were read are kept at hand, as plain data. */
export interface ReadCache {
  readonly folder: string
  /** Bytes that it may have; for a moment a few more. */
  readonly bytes: number
}

/** Of its size, so much is written between two looks at the whole. */
const LOOK_SHARE = 1 / 64
/** What is left where it was too full. */
const KEPT_SHARE = 0.9
/** A file is not marked as used more often than this. */
const USED_MS = 60_000

type Read = Pick<BlockStore, 'readInto'>

/**
 * Reads blocks through a folder that has those read last. What it has is verified, and only a copy: whatever is wrong
 * with it, or cannot be done there, is as if it were not. Any number of threads and processes may share the folder.
 * @param reserve bytes of the folder's file system to leave free; undefined for a part of it
 */
export function cacheReads(blocks: Read, { folder, bytes }: ReadCache, reserve: number | undefined): Read {
  const space = createReserve({ directory: folder, bytes: reserve })
  let unseen = Number.POSITIVE_INFINITY

  async function keep(digest: Digest, block: Uint8Array): Promise<void> {
    verifyStored(block)
    space.demand(block.length)
    const temporary = join(folder, `${randomUUID()}.new`)
    try {
      await nodeFiles.writeFile(temporary, block, { mode: 0o600, flag: 'wx' })
      await nodeFiles.rename(temporary, join(folder, digest))
    } catch (error) {
      await nodeFiles.rm(temporary, { force: true })
      throw error
    }
    unseen += block.length
    if (unseen <= bytes * LOOK_SHARE) return
    unseen = 0
    await makeRoom(folder, bytes)
  }

  return {
    async readInto(digest, target) {
      const cached = await orNothing(readCached(join(folder, digest), target))
      if (cached !== undefined) return cached
      const size = await blocks.readInto(digest, target)
      await orNothing(keep(digest, target.subarray(0, size)))
      return size
    },
  }
}

/** Errors of the cache concern nobody else: it may lie on a disk that is full, gone or broken. */
async function orNothing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (error instanceof LibraryError || systemCode(error) !== undefined) return undefined
    throw error
  }
}

async function readCached(path: string, target: Uint8Array): Promise<number> {
  await using handle = await nodeFiles.open(path, 'r')
  const { size, mtimeMs } = await handle.stat()
  const { bytesRead } = await handle.read(target, 0, Math.min(size, target.length), 0)
  try {
    if (bytesRead !== size) throw new LibraryError('corrupt', 'read from the cache: it is not whole')
    verifyStored(target.subarray(0, size))
  } catch (error) {
    await nodeFiles.rm(path, { force: true })
    throw error
  }
  const now = Date.now()
  if (Math.abs(now - mtimeMs) > USED_MS) await nodeFiles.utimes(path, now / 1000, now / 1000)
  return size
}

/** Removes what was not used for longest, where all of it is more than it may be. */
async function makeRoom(folder: string, bytes: number): Promise<void> {
  const files: { readonly path: string; readonly size: number; readonly usedAt: number }[] = []
  let sum = 0
  for (const name of await nodeFiles.readdir(folder)) {
    const path = join(folder, name)
    // Another thread may have removed it.
    const found = await orNothing(nodeFiles.stat(path))
    if (!found?.isFile()) continue
    files.push({ path, size: found.size, usedAt: found.mtimeMs })
    sum += found.size
  }
  if (sum <= bytes) return
  for (const { path, size } of files.sort((a, b) => a.usedAt - b.usedAt)) {
    if (sum <= bytes * KEPT_SHARE) return
    await nodeFiles.rm(path, { force: true })
    sum -= size
  }
}
