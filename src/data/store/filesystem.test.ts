import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import fs, { existsSync } from 'node:fs'
import * as files from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { createRandom, type Random } from '#data/codec/codec.fixtures.ts'
import { SyncedFiles } from '../../../test/support/synced-files.ts'
import { blockingFiles } from './blocking-files.ts'
import { exampleBlock, isError, storeContract } from './contract.ts'
import type { FileOperations } from './file-set.ts'
import { type FilesystemStoreOptions, openFilesystemStore } from './filesystem.ts'
import { clearQuarantine, sizeOfQuarantine } from './open-store.ts'

const folders: string[] = []
after(() => Promise.all(folders.map((folder) => files.rm(folder, { recursive: true }))))

async function makeFolder(): Promise<string> {
  const folder = await files.mkdtemp(join(tmpdir(), 'store-'))
  folders.push(folder)
  return folder
}

const openNew = async (options?: FilesystemStoreOptions) => openFilesystemStore(await makeFolder(), options)

storeContract('filesystem', openNew)
storeContract('filesystem, blocking', () => openNew({ files: blockingFiles }))

const DAY_AGO = Date.now() / 1000 - 25 * 3600
const pathOf = (folder: string, digest: string) => join(folder, 'blocks', digest.slice(0, 2), digest)

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}

/** The calls of node:fs/promises, each preceded by `before`. */
function hooked(before: (call: keyof FileOperations, path: unknown) => Promise<void>): FileOperations {
  const { link, mkdir, open, readdir, rename, stat, unlink } = files
  const calls = Object.entries({ link, mkdir, open, readdir, rename, stat, unlink }).map(
    ([name, call]: [string, unknown]) => [
      name,
      async (...args: unknown[]) => {
        await before(name as keyof FileOperations, args[0])
        return (call as (...args: unknown[]) => Promise<unknown>)(...args)
      },
    ],
  )
  return Object.fromEntries(calls)
}

test('filesystem store: a full disk is "unavailable" with advice, and leaves nothing behind', async () => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const folder = await makeFolder()
    const broken = hooked(async (call) => {
      if (call === 'link') throw systemError(code)
    })
    const store = await openFilesystemStore(folder, { files: broken })
    const { digest, stored } = exampleBlock(1)
    await assert.rejects(store.blocks.put(digest, stored), (error: Error & { hint?: string }) => {
      assert.match(error.message, /no space left/)
      assert.match(error.hint ?? '', /Free space/)
      return isError('unavailable')(error)
    })
    assert.deepEqual(await files.readdir(join(folder, 'temporary')), [])
    assert.equal(await store.blocks.claim(digest), undefined)
  }
})

test('filesystem store: a write that the disk refuses is "unavailable", and leaves nothing behind', async (t) => {
  if (!existsSync('/dev/full')) return t.skip('there is no /dev/full')
  const folder = await makeFolder()
  const full: FileOperations = {
    ...hooked(async () => {}),
    open: (async (path, flags) => {
      if (flags !== 'wx') return files.open(path, flags)
      await files.writeFile(path, '')
      return files.open('/dev/full', 'r+')
    }) as FileOperations['open'],
  }
  const store = await openFilesystemStore(folder, { files: full })
  const { digest, stored } = exampleBlock(1)
  await assert.rejects(store.blocks.put(digest, stored), isError('unavailable'))
  assert.deepEqual(await files.readdir(join(folder, 'temporary')), [])
})

test('filesystem store: other faults of the disk are "unavailable" too', async () => {
  const { digest, stored } = exampleBlock(1)
  const folder = await makeFolder()
  await (await openFilesystemStore(folder)).blocks.put(digest, stored)
  const broken = hooked(async (call, path) => {
    if (String(path).includes(digest) && call !== 'mkdir') throw systemError('EIO')
  })
  const store = await openFilesystemStore(folder, { files: broken })
  await assert.rejects(store.blocks.claim(digest), isError('unavailable'))
  await assert.rejects(store.blocks.get(digest), isError('unavailable'))
  await assert.rejects(store.blocks.remove(digest, Date.now() + 1000), isError('unavailable'))
  await assert.rejects(store.blocks.quarantine(digest), isError('unavailable'))
})

test('filesystem store: a digest that is none never becomes a path', async () => {
  const store = await openNew()
  for (const digest of ['', '../../etc/passwd', 'A'.repeat(64), `${'a'.repeat(63)}/`]) {
    await assert.rejects(store.blocks.get(digest), /internal error/)
    await assert.rejects(store.blocks.claim(digest), /internal error/)
  }
})

test('filesystem store: a block that a power cut left short is moved aside, not claimed', async () => {
  const folder = await makeFolder()
  const store = await openFilesystemStore(folder)
  const { digest, stored } = exampleBlock(1)
  for (const length of [0, 3, 10, stored.length - 1]) {
    await store.blocks.put(digest, stored)
    await files.truncate(pathOf(folder, digest), length)
    assert.equal(await store.blocks.claim(digest), undefined)
    await files.writeFile(pathOf(folder, digest), stored.subarray(0, length))
    await store.blocks.put(digest, stored)
    assert.equal((await store.blocks.get(digest)).length, stored.length)
    assert.equal(await store.blocks.remove(digest, Date.now() + 1000), true)
  }
  assert.equal((await files.readdir(join(folder, 'quarantine'))).length, 8)
})

test('filesystem store: a stored block is never replaced', async () => {
  const folder = await makeFolder()
  const store = await openFilesystemStore(folder)
  const { digest, stored } = exampleBlock(1)
  await store.blocks.put(digest, stored)
  const before = await files.stat(pathOf(folder, digest))
  await store.blocks.put(digest, stored)
  assert.equal((await files.stat(pathOf(folder, digest))).ino, before.ino)
})

test('filesystem store: a file too large for a block is corrupt, and is not read', async () => {
  const folder = await makeFolder()
  const store = await openFilesystemStore(folder)
  const { digest, stored } = exampleBlock(1)
  await store.blocks.put(digest, stored)
  await files.truncate(pathOf(folder, digest), 2 ** 40)
  await assert.rejects(store.blocks.get(digest), isError('corrupt'))
})

test('filesystem store: opening clears old temporary files, and all of them where it is exclusive', async () => {
  const folder = await makeFolder()
  await openFilesystemStore(folder)
  const temporary = join(folder, 'temporary')
  for (const name of ['old', 'new']) await files.writeFile(join(temporary, name), 'x')
  // What is about to get its name has the time of its generation, however long ago that began.
  await files.utimes(join(temporary, 'new'), DAY_AGO, DAY_AGO)
  const stat = async (path: string) => {
    const found = await files.stat(path)
    return path.endsWith('old') ? Object.assign(found, { ctimeMs: found.ctimeMs - 25 * 3600_000 }) : found
  }
  await openFilesystemStore(folder, { files: { ...files, stat: stat as typeof files.stat } })
  assert.deepEqual(await files.readdir(temporary), ['new'])
  await openFilesystemStore(folder, { exclusive: true })
  assert.deepEqual(await files.readdir(temporary), [])
})

test('filesystem store: a removal that a crash cut short is undone, and readable until then', async () => {
  const folder = await makeFolder()
  const dying = hooked(async (call) => {
    if (call === 'unlink') throw systemError('EIO')
  })
  const { digest, stored } = exampleBlock(1)
  await (await openFilesystemStore(folder)).blocks.put(digest, stored)
  const store = await openFilesystemStore(folder, { files: dying })
  await assert.rejects(store.blocks.remove(digest, Date.now() + 1000), isError('unavailable'))
  assert.equal(existsSync(pathOf(folder, digest)), false)
  const other = await openFilesystemStore(folder)
  assert.equal(existsSync(pathOf(folder, digest)), false, 'what was just moved may be in use')
  assert.equal((await other.blocks.get(digest)).length, stored.length)
  await openFilesystemStore(folder, { exclusive: true })
  assert.equal(existsSync(pathOf(folder, digest)), true)
  assert.deepEqual(await files.readdir(join(folder, 'removing')), [])
})

test('filesystem store: a sync that fails is "unavailable"', async () => {
  const store = await openNew({ syncCommand: 'false' })
  await assert.rejects(store.sync(), isError('unavailable'))
})

test('filesystem store: a sync whose program the system does not start is "unavailable"', async () => {
  const store = await openNew({ syncCommand: import.meta.filename })
  await assert.rejects(store.sync(), isError('unavailable'))
})

test('filesystem store: without the sync program each new file and folder is synced', async () => {
  const folder = await makeFolder()
  const opened: string[] = []
  const watched = hooked(async (call, path) => {
    if (call === 'open') opened.push(String(path))
  })
  const store = await openFilesystemStore(folder, { files: watched, syncCommand: '/nowhere/sync' })
  const [old, fresh] = [exampleBlock(1), exampleBlock(2)]
  await store.blocks.put(old.digest, old.stored)
  await store.blocks.put(fresh.digest, fresh.stored)
  await store.sync()
  assert.ok(opened.includes(pathOf(folder, old.digest)))
  await files.utimes(pathOf(folder, old.digest), DAY_AGO, DAY_AGO)
  opened.length = 0
  await store.sync()
  const folders = ['blocks', 'manifests'].map((kind) => join(folder, kind))
  const fans = [old, fresh].map(({ digest }) => dirname(pathOf(folder, digest)))
  const expected = [pathOf(folder, fresh.digest), ...folders, ...fans, folder]
  assert.deepEqual(new Set(opened), new Set(expected))
})

test('filesystem store: those who ask for a sync while one runs share the next one', async () => {
  const folder = await makeFolder()
  const script = join(folder, 'sync')
  await files.writeFile(script, `#!/bin/sh\necho >> ${join(folder, 'runs')}\n`, { mode: 0o755 })
  const store = await openFilesystemStore(join(folder, 'store'), { syncCommand: script })
  await Promise.all(Array.from({ length: 20 }, () => store.sync()))
  assert.equal((await files.readFile(join(folder, 'runs'), 'utf8')).length, 2)
  await store.sync()
  assert.equal((await files.readFile(join(folder, 'runs'), 'utf8')).length, 3)
})

/** Lets the calls of several tasks pass one at a time, in an order drawn from `random`. */
function createScheduler(random: Random) {
  const waiting: (() => void)[] = []
  let running = 0
  function next(): void {
    if (running > 0 || waiting.length === 0) return
    running++
    waiting.splice(random.below(waiting.length), 1)[0]?.()
  }
  return {
    /** Ends the turn of the task that calls it, and waits for its next one. */
    async turn(): Promise<void> {
      running--
      await this.start(() => setImmediate(next))
    },
    start(then: () => void = () => {}): Promise<void> {
      return new Promise((resolve) => {
        waiting.push(resolve)
        then()
      })
    },
    async run(tasks: (() => Promise<void>)[]): Promise<void> {
      const all = tasks.map(async (task) => {
        await this.start()
        await task()
        running--
        setImmediate(next)
      })
      setImmediate(next)
      await Promise.all(all)
    },
  }
}

test('filesystem store: however claims, puts and removals interleave, what was claimed stays', async () => {
  const seed = randomInt(2 ** 31)
  const { digest, stored } = exampleBlock(1)
  let removed = 0
  for (let round = 0; round < 400; round++) {
    const random = createRandom(seed + round)
    const folder = await makeFolder()
    const scheduler = createScheduler(random)
    let scheduled = false
    const turn = async () => (scheduled ? scheduler.turn() : undefined)
    const calls = hooked(turn)
    // A file may move between being opened and being touched.
    const openThenWait = async (...args: Parameters<typeof files.open>) => {
      const handle = await calls.open(...args)
      await turn()
      return handle
    }
    const ordered = { ...calls, open: openThenWait }
    const open = () => openFilesystemStore(folder, { files: ordered })
    const [mine, other, collector, second] = await Promise.all([open(), open(), open(), open()])
    await mine.blocks.put(digest, stored)
    await files.utimes(pathOf(folder, digest), DAY_AGO, DAY_AGO)
    const since = Date.now() - 3600_000
    const keep = (store: typeof mine) => async () => {
      if ((await store.blocks.claim(digest)) === undefined) await store.blocks.put(digest, stored)
      assert.equal((await store.blocks.get(digest)).length, stored.length)
    }
    const collect = (store: typeof mine) => async () => {
      if (await store.blocks.remove(digest, since)) removed++
    }
    scheduled = true
    await scheduler.run([keep(mine), keep(other), collect(collector), collect(second)].slice(random.below(2)))
    scheduled = false
    const where = `seed ${seed} round ${round}`
    assert.ok(existsSync(pathOf(folder, digest)), `${where}: a claimed block was removed`)
    assert.deepEqual(await files.readdir(join(folder, 'removing')), [], where)
    assert.deepEqual(await files.readdir(join(folder, 'temporary')), [], where)
  }
  assert.ok(removed > 20 && removed < 800, `seed ${seed}: ${removed} removals, so some won and some lost`)
})

test('filesystem store: the quarantine is counted, and what came before a time is removed', async () => {
  const folder = await makeFolder()
  const store = await openFilesystemStore(folder)
  assert.deepEqual(await sizeOfQuarantine(folder), { files: 0, bytes: 0 })
  const [one, other] = [exampleBlock(1), exampleBlock(2)]
  for (const { digest, stored } of [one, other]) await store.blocks.put(digest, stored)
  await store.blocks.quarantine(one.digest)
  await files.rm(pathOf(folder, other.digest))
  await files.mkdir(pathOf(folder, other.digest))
  await store.blocks.quarantine(other.digest)
  assert.equal((await sizeOfQuarantine(folder)).files, 2)
  assert.deepEqual(await clearQuarantine(folder, Date.now() - 3600_000), { files: 0, bytes: 0 })
  assert.equal((await clearQuarantine(folder, Date.now() + 3600_000)).files, 2)
  assert.deepEqual(await files.readdir(join(folder, 'quarantine')), [])
})

for (const listed of [false, true]) {
  test(`filesystem store: without the program, a sync ${listed ? 'of a few ' : ''}makes all of it safe`, async () => {
    const folder = await makeFolder()
    const store = await openFilesystemStore(folder, { syncCommand: '/nowhere/sync' })
    using synced = await SyncedFiles.watch()
    const [first, second] = [exampleBlock(1), exampleBlock(2)]
    // The first sync covers the folders that opening made.
    await store.sync()
    for (const { digest, stored } of [first, second]) {
      await store.blocks.put(digest, stored)
      await store.manifests.put(digest, [Uint8Array.of(1)])
    }
    const digests = [first.digest, second.digest]
    await store.sync(listed ? { blocks: digests, manifests: digests } : undefined)
    for (const kind of ['blocks', 'manifests']) synced.assertSafe(join(folder, kind))
  })
}

test('filesystem store: a manifest, and what mends, is on stable storage before it has its name', async () => {
  const folder = await makeFolder()
  const calls: string[] = []
  const open = async (...args: Parameters<typeof files.open>) => {
    const handle = await files.open(...args)
    const sync = handle.sync.bind(handle)
    return Object.assign(handle, {
      sync: async () => {
        await sync()
        calls.push('sync')
      },
    })
  }
  const note = hooked(async (call) => void calls.push(call))
  const store = await openFilesystemStore(folder, { files: { ...note, open } })
  const { digest, stored } = exampleBlock(1)
  await store.blocks.put(digest, stored)
  const steps: readonly [string, () => Promise<void>][] = [
    ['link', () => store.manifests.put(digest, [Uint8Array.of(1)])],
    ['rename', () => store.blocks.mend(digest, stored)],
    ['rename', () => store.manifests.mend(digest, [Uint8Array.of(1)])],
  ]
  for (const [naming, step] of steps) {
    calls.length = 0
    await step()
    assert.ok(calls.includes('sync') && calls.indexOf('sync') < calls.lastIndexOf(naming), `${calls}`)
  }
})

test('filesystem store: files of the blocking kind are synced as well', async () => {
  const folder = await makeFolder()
  const synced: number[] = []
  await using handle = await blockingFiles.open(join(folder, 'file'), 'w')
  const { fsyncSync } = fs
  fs.fsyncSync = (fd) => {
    synced.push(fd)
    fsyncSync(fd)
  }
  syncBuiltinESMExports()
  try {
    await handle.sync()
  } finally {
    fs.fsyncSync = fsyncSync
    syncBuiltinESMExports()
  }
  assert.equal(synced.length, 1)
})
