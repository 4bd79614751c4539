import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { digestOf } from '#data/block/block.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { readDisk } from '../../../test/support/fault-world.ts'
import { encode, plainBytes, randomDisk } from '../../../test/support/store-disk.ts'
import { UnsyncedFiles } from '../../../test/support/unsynced-files.ts'
import { storeDisk } from './store-disk.ts'

/** What a power cut does with each name and file that was not synced: all the same, so none may be. */
const FATES = [0.1, 0.3, 0.6, 0.99]

test('store disk: once it is stored, a power cut takes nothing of it, whatever was not synced', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'store-disk-'))
  t.after(() => rm(folder, { recursive: true }))
  const seed = randomInt(2 ** 31)
  const disk = randomDisk(seed, 5 * MiB + 512, 0.2)
  for (const fate of FATES) {
    const files = new UnsyncedFiles(() => fate)
    const open = () =>
      openFilesystemStore('/store', { files: files.operations, syncCommand: '/nowhere/sync' })
    await using store = await open()
    const deps = {
      ...{ store, storePlace: folder, spoolDirectory: folder, writer: 'test', reserve: 0 },
      ...{ decoders: '/nowhere', threads: 1, onProgress: () => {}, signal: new AbortController().signal },
    }
    const { manifest } = await storeDisk(DEFAULT_LIMITS, deps, async (context) => {
      for (let index = 0; index < 6; index++) {
        const plain = disk.block(index)
        if (!plain) continue
        const bytes = encode(plain)
        await store.blocks.put(digestOf(plain), bytes)
        await context.manifest.set(index, digestOf(plain), bytes.length)
      }
      return { size: disk.size, notes: [] }
    })
    files.restart()
    await using found = await open()
    assert.deepEqual(await readDisk(found, manifest), plainBytes(disk), `fate ${fate}, seed ${seed}`)
  }
})
