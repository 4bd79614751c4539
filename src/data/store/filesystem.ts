import type { FileHandle } from 'node:fs/promises'
import * as nodeFiles from 'node:fs/promises'
import { join } from 'node:path'
import { assert, LibraryError } from '#base/errors.ts'
import { syncFolder } from '#base/sync-folder.ts'
import { BLOCK_SIZE, maxStoredSize, STORED_HEAD, storedSizeOf, verifyStored } from '#data/block/block.ts'
import { type FileOperations, FileSet } from './file-set.ts'
import { Generations } from './generation.ts'
import type { Reserve } from './reserve.ts'
import { attempting, unlessMissing } from './storage-errors.ts'
import type { BlockStore, Digest, Generation, ManifestStore, Store } from './store.ts'
import { coalesced, syncFileSystem } from './sync.ts'

const DAY_MS = 24 * 3600_000

export interface FilesystemStoreOptions {
  /** Nobody else has the store open: what a crash left behind is cleared at once, not after a day. */
  readonly exclusive?: boolean
  /** Whose temporary files those of this store are: for `removeTemporary`, where it may be ended in the middle. */
  readonly writer?: string
  /** Asked before each put; without it the disk is filled to its end. */
  readonly reserve?: Reserve
  /** For tests: the calls to the file system, and the program that syncs it. */
  readonly files?: FileOperations
  readonly syncCommand?: string
}

/**
 * Opens a store in a folder of a file system with hard links, and makes it where there is none. Any number of threads
 * and processes may have the same folder open.
 * @see docs/design.md "Store on a file system"
 */
export async function openFilesystemStore(
  directory: string,
  options: FilesystemStoreOptions = {},
): Promise<Store> {
  const { files = nodeFiles, writer = '' } = options
  const generations = new Generations(directory, files)
  const generation = () => generations.present()
  const every = { directory, writer, files, generation }
  const blocks = new FileSet({ ...every, kind: 'blocks', isWhole: isWholeBlock })
  // A manifest is on stable storage before it has a name.
  const manifests = new FileSet({ ...every, kind: 'manifests', isWhole: async () => true })
  await attempting('open the store', async () => {
    for (const folder of ['blocks', 'manifests', 'temporary', 'removing', 'quarantine'])
      await files.mkdir(join(directory, folder), { recursive: true })
    await generations.open()
    const untouchedSince = options.exclusive ? Number.POSITIVE_INFINITY : Date.now() - DAY_MS
    await clearTemporary(files, directory, untouchedSince)
    await blocks.recover(untouchedSince)
    await manifests.recover(untouchedSince)
  })
  let synced: Generation | undefined
  const syncAll = coalesced(async () => {
    const start = await attempting('sync the store', generation)
    await attempting('sync the store', async () => {
      if (await syncFileSystem(directory, options.syncCommand ?? 'sync')) return
      await syncOneByOne([blocks, manifests], synced ?? 0, files)
    })
    synced = start
  })
  return {
    blocks: blockStore(blocks, options.reserve),
    manifests: manifestStore(manifests, options.reserve),
    generation: () => attempting('look at the generation', generation),
    nextGeneration: () => attempting('begin a generation', () => generations.next()),
    async sync(only) {
      // The first one covers the folders that opening made, up to the root.
      if (!only || synced === undefined) return syncAll()
      await attempting('sync the store', async () => {
        await Promise.all([blocks.sync(only.blocks), manifests.sync(only.manifests)])
      })
    },
    async [Symbol.asyncDispose]() {},
  }
}

function blockStore(set: FileSet, reserve: Reserve | undefined): BlockStore {
  return {
    claim: (digest) => set.claim(digest),
    sizeOf: (digest) => set.sizeOf(digest),
    async put(digest, bytes) {
      reserve?.demand(bytes.length)
      await set.put(digest, (handle) => writeAll(handle, bytes))
    },
    async mend(digest, bytes) {
      reserve?.demand(bytes.length)
      await set.mend(digest, (handle) => writeAll(handle, bytes))
    },
    async get(digest) {
      await using handle = await set.open(digest)
      return await attempting(`get block ${digest}`, () => readBlock(handle, digest))
    },
    async readInto(digest, target) {
      await using handle = await set.open(digest)
      return await attempting(`get block ${digest}`, async () => {
        const size = await blockSize(handle, digest)
        await readWhole(handle, digest, target.subarray(0, size))
        return size
      })
    },
    remove: (digest, unclaimedSince) => set.remove(digest, unclaimedSince),
    list: (after) => set.list(after),
    quarantine: (digest) => set.quarantine(digest),
  }
}

function manifestStore(set: FileSet, reserve: Reserve | undefined): ManifestStore {
  type Parts = Parameters<ManifestStore['put']>[1]
  const writer = (parts: Parts) => async (handle: FileHandle) => {
    for await (const part of parts) {
      reserve?.demand(part.length)
      await writeAll(handle, part)
    }
    await handle.sync()
  }
  return {
    claim: (digest) => set.claim(digest),
    sizeOf: (digest) => set.sizeOf(digest),
    put: (digest, parts) => set.put(digest, writer(parts)),
    mend: (digest, parts) => set.mend(digest, writer(parts)),
    async open(digest) {
      const handle = await set.open(digest)
      return await attempting(`read manifest ${digest}`, async () => {
        const size = await sizeOrClose(handle)
        return {
          size,
          readAt: (target, offset) =>
            attempting(`read manifest ${digest}`, () => readAt(handle, target, offset)),
          [Symbol.asyncDispose]: () => handle.close(),
        }
      })
    },
    remove: (digest, unclaimedSince) => set.remove(digest, unclaimedSince),
    list: (after) => set.list(after),
    quarantine: (digest) => set.quarantine(digest),
  }
}

async function sizeOrClose(handle: FileHandle): Promise<number> {
  try {
    return (await handle.stat()).size
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done)
    assert(bytesWritten > 0, 'a write makes progress or fails')
    done += bytesWritten
  }
}

async function readAt(handle: FileHandle, target: Uint8Array, offset: number): Promise<number> {
  let done = 0
  while (done < target.length) {
    const { bytesRead } = await handle.read(target, done, target.length - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}

async function readBlock(handle: FileHandle, digest: Digest): Promise<Uint8Array> {
  const bytes = new Uint8Array(await blockSize(handle, digest))
  await readWhole(handle, digest, bytes)
  verifyStored(bytes)
  return bytes
}

async function blockSize(handle: FileHandle, digest: Digest): Promise<number> {
  const { size } = await handle.stat()
  if (size <= maxStoredSize(BLOCK_SIZE)) return size
  throw new LibraryError('corrupt', `get block ${digest}: the file has ${size} bytes`)
}

async function readWhole(handle: FileHandle, digest: Digest, target: Uint8Array): Promise<void> {
  if ((await readAt(handle, target, 0)) < target.length)
    throw new LibraryError('corrupt', `get block ${digest}: the file ends early`)
}

/** A power cut can leave a block that was not synced with too few bytes; never with others than were written. */
async function isWholeBlock(handle: FileHandle, size: number): Promise<boolean> {
  const head = new Uint8Array(STORED_HEAD)
  return (await readAt(handle, head, 0)) === STORED_HEAD && storedSizeOf(head) === size
}

/** Removes what a writer was writing when it was ended; no more than that, and only once it is no more. */
export async function removeTemporary(directory: string, writer: string): Promise<void> {
  const folder = join(directory, 'temporary')
  for (const name of (await unlessMissing(nodeFiles.readdir(folder))) ?? [])
    if (name.startsWith(writer)) await unlessMissing(nodeFiles.unlink(join(folder, name)))
}

/** Files, and their bytes. */
export interface Amount {
  readonly files: number
  readonly bytes: number
}

/** What lies in the quarantine since before a time, milliseconds since 1970. @param remove whether it goes */
export async function countQuarantine(directory: string, before: number, remove: boolean): Promise<Amount> {
  const folder = join(directory, 'quarantine')
  let [files, bytes] = [0, 0]
  for (const name of (await unlessMissing(nodeFiles.readdir(folder))) ?? []) {
    const path = join(folder, name)
    const found = await unlessMissing(nodeFiles.lstat(path))
    // It came by a rename or a link, and both set this time.
    if (!found || found.ctimeMs >= before) continue
    if (remove) await nodeFiles.rm(path, { recursive: true, force: true })
    files++
    bytes += found.size
  }
  return { files, bytes }
}

async function clearTemporary(files: FileOperations, directory: string, before: number): Promise<void> {
  const folder = join(directory, 'temporary')
  for (const name of await files.readdir(folder)) {
    const path = join(folder, name)
    const found = await unlessMissing(files.stat(path))
    // Not by the time of modification: that is a generation where the file is about to get its name.
    if (found && found.ctimeMs < before) await unlessMissing(files.unlink(path))
  }
}

/** Where there is no `sync`: every file put or claimed since, then every folder. Slow, but right. */
async function syncOneByOne(
  sets: readonly FileSet[],
  since: Generation,
  files: FileOperations,
): Promise<void> {
  for (const set of sets) {
    for await (const { digest, claimedIn } of set.list()) {
      if (claimedIn === undefined || claimedIn < since) continue
      await using handle = await set.open(digest)
      await handle.sync()
    }
    for (const fan of await files.readdir(set.folder)) await syncFolder(join(set.folder, fan), files)
    await syncFolder(set.folder, files)
    await syncFolder(join(set.folder, '..'), files)
  }
}
