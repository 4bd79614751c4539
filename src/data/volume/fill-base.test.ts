import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { poolLoader } from '#data/content/pool-loader.ts'
import { type BlockLoader, directLoader } from '#data/form/disk-blocks.ts'
import { createBlockPool } from '#data/pool/block-pool.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { memoryStore } from '#data/store/memory.ts'
import { createReserve } from '#data/store/reserve.ts'
import type { Store } from '#data/store/store.ts'
import { createRandom } from '../../../test/support/random-disk.ts'
import { plainBytes, randomDisk, storeDisk, type TestDisk } from '../../../test/support/store-disk.ts'
import { SyncedFiles } from '../../../test/support/synced-files.ts'
import { fillBase } from './fill-base.ts'
import type { FillOptions } from './volume.ts'

const seed = randomInt(2 ** 31)
const isError = (code: string) => (error: unknown) => error instanceof LibraryError && error.code === code

describe(`filling a base (seed ${seed})`, () => {
  let folder: string
  let count = 0
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fill-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  const reserveOf = (bytes: number) => createReserve({ directory: folder, bytes })
  const newPath = () => join(folder, `base-${count++}`)
  const filesOf = async (path: string) =>
    (await readdir(folder)).filter((name) => join(folder, name).startsWith(path))

  function fill(store: Store, manifest: string, options: Partial<FillOptions> & { path: string }) {
    return fillBase({
      manifests: store.manifests,
      loader: directLoader(store.blocks),
      manifest,
      rate: undefined,
      reserve: reserveOf(0),
      onProgress: () => {},
      signal: new AbortController().signal,
      ...options,
    })
  }

  /** Many blocks, made of few bytes at rest: every fourth one is zeros. */
  function longDisk(blocks: number): TestDisk {
    const contents = [1, 2, 3].map((byte) => Buffer.alloc(MiB, byte))
    return { size: blocks * MiB, block: (index) => contents[index % 4] }
  }

  /** A loader that fails from its `limit`-th block on, and knows how many it gave. */
  function failingLoader(store: Store, limit: number) {
    const inner = directLoader(store.blocks)
    let loads = 0
    const loader: BlockLoader = {
      ...inner,
      async plain(block, signal) {
        if (loads >= limit) throw new LibraryError('unavailable', 'the store is away')
        loads++
        return await inner.plain(block, signal)
      },
    }
    return { loader, loads: () => loads }
  }

  async function assertFilled(path: string, expected: Buffer): Promise<void> {
    const bytes = await readFile(path)
    assert.ok(bytes.equals(expected), 'the base is the disk')
    assert.equal((await stat(path)).mode & 0o777, 0o444)
    assert.deepEqual(await filesOf(path), [path.slice(folder.length + 1)])
  }

  test('a base is the disk, sparse where that has zeros, also by the threads of a pool', async () => {
    const storePlace = join(folder, 'store')
    await using store = await openFilesystemStore(storePlace)
    await using pool = createBlockPool({ storePlace, threads: 2, reserve: undefined })
    const disk = randomDisk(seed, 20 * MiB + 1536, 0.5)
    const manifest = await storeDisk(store, disk)
    for (const loader of [directLoader(store.blocks), poolLoader(pool)]) {
      const path = newPath()
      const told: number[] = []
      await fill(store, manifest, { path, loader, onProgress: (done) => told.push(done) })
      await assertFilled(path, plainBytes(disk))
      assert.equal(told.at(-1), disk.size)
      const zeros = Array.from({ length: 20 }, (_, index) => disk.block(index)).filter(
        (block) => !block,
      ).length
      assert.ok((await stat(path)).blocks * 512 <= disk.size - zeros * MiB + 64 * 1024)
    }
  })

  test('a base that is complete is left as it is', async () => {
    const store = memoryStore()
    const manifest = await storeDisk(store, longDisk(3))
    const path = newPath()
    await fill(store, manifest, { path })
    const { ino } = await stat(path)
    // As after a crash between the last two steps.
    await writeFile(`${path}.progress`, '{}')
    const { loader, loads } = failingLoader(store, 0)
    await fill(store, manifest, { path, loader })
    assert.equal(loads(), 0)
    assert.equal((await stat(path)).ino, ino)
    assert.equal((await filesOf(path)).length, 1)
  })

  test('a fill that failed goes on where it was on stable storage', async () => {
    const store = memoryStore()
    const disk = longDisk(200)
    const manifest = await storeDisk(store, disk)
    const path = newPath()
    await assert.rejects(
      fill(store, manifest, { path, loader: failingLoader(store, 100).loader }),
      isError('unavailable'),
    )
    await assert.rejects(stat(path), { code: 'ENOENT' })
    assert.deepEqual(JSON.parse(await readFile(`${path}.progress`, 'utf8')), { manifest, done: 85 * MiB })
    const { loader, loads } = failingLoader(store, 200)
    await fill(store, manifest, { path, loader })
    assert.equal(loads(), 150 - 64)
    await assertFilled(path, plainBytes(disk))
  })

  test('what is remembered is not believed where it cannot be', async () => {
    const store = memoryStore()
    const disk = longDisk(10)
    const manifest = await storeDisk(store, disk)
    for (const [progress, size] of [
      [JSON.stringify({ manifest, done: 8 * MiB }), 4 * MiB],
      [JSON.stringify({ manifest: 'ab'.repeat(32), done: 8 * MiB }), disk.size],
      [JSON.stringify({ manifest, done: 8 * MiB + 1 }), disk.size],
      [JSON.stringify({ manifest, done: -MiB }), disk.size],
      [JSON.stringify({ manifest, done: '8' }), disk.size],
      ['\0\0', disk.size],
      ['{"manif', disk.size],
      ['', disk.size],
    ] as const) {
      const path = newPath()
      await writeFile(`${path}.partial`, Buffer.alloc(size, 9))
      await writeFile(`${path}.progress`, progress)
      await fill(store, manifest, { path })
      await assertFilled(path, plainBytes(disk))
    }
  })

  test('what lies behind the place that is remembered is thrown away', async () => {
    const store = memoryStore()
    const disk = longDisk(10)
    const manifest = await storeDisk(store, disk)
    const path = newPath()
    const begun = plainBytes(disk)
    begun.fill(9, 3 * MiB)
    await writeFile(`${path}.partial`, begun)
    await writeFile(`${path}.progress`, JSON.stringify({ manifest, done: 3 * MiB }))
    await fill(store, manifest, { path })
    await assertFilled(path, plainBytes(disk))
  })

  test('too little space is unavailable, and the fill goes on when there is more', async () => {
    const store = memoryStore()
    const disk = longDisk(5)
    const manifest = await storeDisk(store, disk)
    const path = newPath()
    await assert.rejects(fill(store, manifest, { path, reserve: reserveOf(2 ** 60) }), isError('unavailable'))
    assert.deepEqual(await filesOf(path), [`${basename(path)}.partial`])
    await fill(store, manifest, { path })
    await assertFilled(path, plainBytes(disk))
    await assert.rejects(fill(store, manifest, { path: join(path, 'none') }), isError('unavailable'))
  })

  test('a missing manifest or block is said by its name, and makes no base', async () => {
    const store = memoryStore()
    const path = newPath()
    await assert.rejects(fill(store, 'ab'.repeat(32), { path }), isError('not_found'))
    assert.deepEqual(await filesOf(path), [])
    const manifest = await storeDisk(store, longDisk(5))
    for await (const { digest } of store.blocks.list()) await store.blocks.quarantine(digest)
    await assert.rejects(fill(store, manifest, { path }), isError('corrupt'))
    await assert.rejects(stat(path), { code: 'ENOENT' })
  })

  test('a stopped fill ends with the reason, at once and at any time', async () => {
    const store = memoryStore()
    const manifest = await storeDisk(store, longDisk(5))
    const reason = new Error('destroyed')
    const path = newPath()
    await assert.rejects(
      fill(store, manifest, { path, signal: AbortSignal.abort(reason) }),
      (error) => error === reason,
    )
    for (const options of [
      { rate: 1 },
      { loader: { ...directLoader(store.blocks), plain: () => new Promise<never>(() => {}) } },
    ]) {
      const stopping = new AbortController()
      const { signal } = stopping
      const onProgress = () => setImmediate(() => stopping.abort(reason))
      await assert.rejects(
        fill(store, manifest, { path, signal, onProgress, ...options }),
        (error) => error === reason,
      )
    }
    await assert.rejects(stat(path), { code: 'ENOENT' })
  })

  test('a rate is kept', async () => {
    const store = memoryStore()
    const manifest = await storeDisk(store, longDisk(8))
    const begun = performance.now()
    await fill(store, manifest, { path: newPath(), rate: 20 * MiB })
    // Six blocks of data; the first one is not waited for.
    assert.ok(performance.now() - begun >= 240, `${performance.now() - begun} ms`)
  })

  test('a fill that is killed at any moment is completed by the next one', async () => {
    const random = createRandom(seed)
    const storePlace = join(folder, 'store-killed')
    await using store = await openFilesystemStore(storePlace)
    const disk = longDisk(250)
    const manifest = await storeDisk(store, disk)
    const path = newPath()
    const script = fileURLToPath(new URL('fill-base.fixtures.ts', import.meta.url))
    for (let round = 0; round < 3; round++) {
      const until = random() * disk.size
      const child = spawn(process.execPath, [script, storePlace, manifest, path, String(300 * MiB)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = once(child, 'exit')
      for await (const line of createInterface({ input: child.stdout })) {
        if (Number(line) >= until) child.kill('SIGKILL')
      }
      await ended
      if (random() < 0.3) await truncate(`${path}.partial`, 5 * MiB).catch(() => {})
    }
    await fill(store, manifest, { path })
    await assertFilled(path, plainBytes(disk))
  })

  test('once it is filled, and at each place that is remembered, a power cut takes nothing of it', async () => {
    using synced = await SyncedFiles.watch()
    const parent = await mkdtemp(join(tmpdir(), 'fill-'))
    const home = join(parent, 'bases')
    await mkdir(home)
    await using there = await open(parent, 'r')
    await there.sync()
    const path = join(home, 'base')
    const store = memoryStore()
    const manifest = await storeDisk(store, longDisk(140))
    let remembered = 0
    const onProgress = () => {
      if (!existsSync(`${path}.progress`) || remembered > 0) return
      remembered++
      const { done } = JSON.parse(readFileSync(`${path}.progress`, 'utf8'))
      assert.ok(done > 0 && synced.has(`${path}.partial`), 'what is said to be there was written out')
      assert.ok(synced.has(`${path}.progress`))
    }
    await fill(store, manifest, { path, onProgress })
    assert.equal(remembered, 1)
    synced.assertSafe(home)
    await rm(parent, { recursive: true })
  })
})
