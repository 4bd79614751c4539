import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { collect } from '#data/disk/collect.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { keepBlock } from '#data/store/keep-block.ts'
import type { Store } from '#data/store/store.ts'
import { createKeeper, readDisk, SOURCE } from './fault-world.ts'
import { UnsyncedFiles } from './unsynced-files.ts'

const { signal } = new AbortController()
/** Bytes of the last block of a disk; the first ones are whole, and shared by disks. */
const TAIL = 512

/** Disks are named by the letters that their blocks are full of. */
function bytesOf(letters: string): Buffer {
  const blocks = [...letters].map((letter) => Buffer.alloc(TAIL, letter.repeat(7)))
  return Buffer.concat(blocks.map((block, index) => (index === blocks.length - 1 ? block : pad(block))))
}

const pad = (block: Buffer) => Buffer.concat([block, Buffer.alloc(BLOCK_SIZE - TAIL)])

/** @param listed whether only what the disk needs is synced, as for objects @returns the manifest, all of it safe */
async function keepDisk(store: Store, bytes: Buffer, listed: boolean): Promise<string> {
  await using manifest = new ManifestWriter({ directory: tmpdir() })
  const keepWith = createKeeper(store)
  const blocks: string[] = []
  for (let index = 0; index * BLOCK_SIZE < bytes.length; index++) {
    const block = bytes.subarray(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE)
    keepWith.codec.bytes.set(block, SOURCE)
    const kept = await keepBlock(keepWith, SOURCE, block.length)
    if (!kept) continue
    blocks.push(kept.digest)
    await manifest.set(index, kept.digest, kept.storedLength)
  }
  const { digest } = await manifest.finish(store.manifests, bytes.length)
  await store.sync(listed ? { blocks, manifests: [digest] } : undefined)
  return digest
}

/**
 * Disks are kept, let go and collected until the power is cut, again and again on the same files.
 * @returns how often it was cut
 */
export async function runPowerCuts(random: () => number, cuts: number): Promise<number> {
  const below = (bound: number) => Math.floor(random() * bound)
  const files = new UnsyncedFiles(random)
  const open = (exclusive: boolean) => {
    const options = { exclusive, files: files.operations, syncCommand: '/nowhere/sync' }
    return openFilesystemStore('/store', options)
  }
  /** Said to be available: letters by manifest. */
  const available = new Map<string, string>()
  async function* roots() {
    yield* available.keys()
  }

  for (let cut = 0; cut < cuts; cut++) {
    const store = await open(true)
    for (const [manifest, letters] of available) {
      const read = await readDisk(store, manifest)
      assert.ok(read.equals(bytesOf(letters)), `disk ${letters} is what it was before power cut ${cut}`)
    }
    files.cutAfter(below(300))
    try {
      for (let step = 0; step < 8; step++) {
        const letters = Array.from({ length: 1 + below(3) }, () => 'abcdef'[below(6)]).join('')
        const manifest = await keepDisk(store, bytesOf(letters), random() < 0.5)
        available.set(manifest, letters)
        const [gone] = available.keys()
        if (gone !== undefined && random() < 0.5) available.delete(gone)
        const unclaimedSince = Date.now() + 1000
        if (random() < 0.4) await collect({ store, roots, unclaimedSince, signal })
      }
    } catch (error) {
      const { code, cause } = error as { code?: string; cause?: { code?: string } }
      if (code !== 'EPOWER' && cause?.code !== 'EPOWER') throw error
    }
    files.restart()
  }
  return cuts
}
