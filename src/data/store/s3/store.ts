import { LibraryError } from '#base/errors.ts'
import { BLOCK_SIZE, maxStoredSize, verifyStored } from '#data/block/block.ts'
import type { BlockStore, Digest, ManifestStore, Store } from '../store.ts'
import { S3Generations } from './generations.ts'
import type { S3Objects } from './objects.ts'
import { openManifest } from './open-manifest.ts'
import { S3Files } from './s3-files.ts'

type Parts = Parameters<ManifestStore['put']>[1]
type Put<T> = (key: string, bytes: T) => Promise<void>

export interface S3StoreOptions {
  /** Closed with the store. */
  readonly objects: S3Objects
  /** For tests: milliseconds after which a removal is settled. */
  readonly settledMs?: number
}

/**
 * A store in an object store; any number of threads and processes, on any number of machines, may have it open. What
 * was put is on stable storage as soon as the server says so.
 * @see docs/design.md "Store on S3"
 */
export function createS3Store({ objects, settledMs }: S3StoreOptions): Store {
  const generations = new S3Generations(objects)
  const blocks = new S3Files({ objects, kind: 'blocks', generations, settledMs })
  const manifests = new S3Files({ objects, kind: 'manifests', generations, settledMs })
  const put = {
    bytes: async (key: string, bytes: Uint8Array) => objects.put(key, bytes, await generations.mark()),
    parts: async (key: string, parts: Parts) => objects.putStream(key, parts, await generations.mark()),
  }
  return {
    blocks: blockStore(blocks, objects, put.bytes),
    manifests: manifestStore(manifests, objects, put.parts),
    generation: () => generations.present(),
    nextGeneration: () => generations.next(),
    async sync(only) {
      if (only) await Promise.all([blocks.demand(only.blocks), manifests.demand(only.manifests)])
    },
    [Symbol.asyncDispose]: () => objects[Symbol.asyncDispose](),
  }
}

function blockStore(files: S3Files, objects: S3Objects, put: Put<Uint8Array>): BlockStore {
  const read = async (digest: Digest) => {
    const bytes = await files.find(digest, (key) => objects.get(key, maxStoredSize(BLOCK_SIZE)))
    if (bytes) return bytes
    throw files.missing('get', digest)
  }
  return {
    claim: (digest) => files.claim(digest),
    sizeOf: (digest) => files.sizeOf(digest),
    put: (digest, bytes) => put(files.keyOf(digest), bytes),
    mend: (digest, bytes) => files.mend(digest, (key) => put(key, bytes)),
    async get(digest) {
      const bytes = await read(digest)
      try {
        verifyStored(bytes)
        return bytes
      } catch (error) {
        if (!(error instanceof LibraryError) || error.code !== 'corrupt') throw error
      }
      // Only the second time it is not the way here that damaged it.
      const again = await read(digest)
      verifyStored(again)
      return again
    },
    async readInto(digest, target) {
      const bytes = await read(digest)
      target.set(bytes)
      return bytes.length
    },
    remove: (digest, unclaimedSince) => files.remove(digest, unclaimedSince),
    removed: files.removed,
    list: (after) => files.list(after),
    quarantine: (digest) => files.quarantine(digest),
  }
}

function manifestStore(files: S3Files, objects: S3Objects, put: Put<Parts>): ManifestStore {
  return {
    claim: (digest) => files.claim(digest),
    sizeOf: (digest) => files.sizeOf(digest),
    put: (digest, parts) => put(files.keyOf(digest), parts),
    async mend(digest, parts) {
      let isFirst = true
      await files.mend(digest, async (key) => {
        // Parts can be read once; the copies are made from the first.
        if (!isFirst) throw files.missing('mend', digest)
        isFirst = false
        await put(key, parts)
      })
    },
    open: (digest) => openManifest(files, objects, digest),
    remove: (digest, unclaimedSince) => files.remove(digest, unclaimedSince),
    removed: files.removed,
    list: (after) => files.list(after),
    quarantine: (digest) => files.quarantine(digest),
  }
}
