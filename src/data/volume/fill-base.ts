import { constants } from 'node:fs'
import { access, type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { MiB } from '#base/bytes.ts'
import type { Promised } from '#base/ledger.ts'
import { orAbort } from '#base/or-abort.ts'
import { BLOCK_SIZE, blockLength } from '#data/block/block.ts'
import { loadPlain } from '#data/form/disk-blocks.ts'
import { bytesOf, type Loaded, letGo } from '#data/form/pieces.ts'
import { type Manifest, openManifest } from '#data/manifest/manifest.ts'
import { attempting, systemCode } from '#data/store/storage-errors.ts'
import { forgetProgress, readProgress, saveProgress } from './fill-progress.ts'
import type { FillBase, FillOptions } from './volume.ts'

/** Blocks that are loaded at once: enough for the threads of a small pool, and no more than others can spare. */
const IN_FLIGHT = 4
/** After so many bytes, or so long, what was written is put on stable storage and remembered. */
const SAVE_BYTES = 64 * MiB
const SAVE_MS = 5_000
const TELL_MS = 250

const partialOf = (path: string) => `${path}.partial`

export const fillBase: FillBase = async (options) => {
  const { path, manifests, onProgress } = options
  const attempt = `fill the base ${basename(path)}`
  await using manifest = await openManifest(manifests, options.manifest)
  await attempting(attempt, async () => {
    if (!(await isFilled(path))) {
      await using file = await open(partialOf(path), constants.O_RDWR | constants.O_CREAT, 0o600)
      const done = await prepare(file, manifest, path)
      await fillFrom(done, file, manifest, options)
      await file.chmod(0o444)
      await file.sync()
      await rename(partialOf(path), path)
    }
    // Also what a crash left between the two; forgetting brings all these names to stable storage.
    await rm(partialOf(path), { force: true })
    await forgetProgress(path)
  })
  onProgress(manifest.diskSize)
}

/** Asks for room for all that is missing before anything of it is written. */
async function fillFrom(done: number, file: FileHandle, manifest: Manifest, options: FillOptions) {
  const { blocks } = await file.stat()
  const missing = Math.max(0, manifest.dataBlocks * BLOCK_SIZE - blocks * STAT_BLOCK)
  using space = options.reserve.promise(missing)
  await new Filling(file, manifest, options, space).run(done)
}

/** What `st_blocks` counts, stat(2). */
const STAT_BLOCK = 512

async function isFilled(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * Makes a file as long as the disk, of which only that stays that is remembered.
 * @returns how many bytes those are
 */
async function prepare(file: FileHandle, manifest: Manifest, path: string): Promise<number> {
  const { size } = await file.stat()
  const known = await readProgress(path)
  const fits = known?.manifest === manifest.digest && known.done <= size && size === manifest.diskSize
  const done = fits ? known.done : 0
  // Before anything is taken away that it speaks of.
  if (!fits) await forgetProgress(path)
  await file.truncate(done)
  await file.truncate(manifest.diskSize)
  return done
}

interface LoadingBlock {
  readonly offset: number
  readonly length: number
  readonly loaded: Promise<Loaded>
}

class Filling {
  readonly #file: FileHandle
  readonly #manifest: Manifest
  readonly #options: FillOptions
  readonly #space: Promised
  /** Ascending. */
  readonly #loading: LoadingBlock[] = []
  #unsaved = 0
  #savedAt = performance.now()
  #toldAt = 0
  /** When more may be read, on the clock of `performance`. */
  #nextAt = 0

  constructor(file: FileHandle, manifest: Manifest, options: FillOptions, space: Promised) {
    this.#file = file
    this.#manifest = manifest
    this.#options = options
    this.#space = space
  }

  /** Copies the disk from an offset on, a multiple of the block size. */
  async run(from: number): Promise<void> {
    const { loader, signal } = this.#options
    this.#tell(from)
    try {
      for await (const { index, ...entry } of this.#manifest.entries(from / BLOCK_SIZE)) {
        const length = blockLength(this.#manifest.diskSize, index)
        if (this.#loading.length === IN_FLIGHT) await this.#writeNext()
        await this.#pace(length)
        signal.throwIfAborted()
        const loaded = loadPlain(loader, { index, length, ...entry }, signal)
        // A failure is met when it is this block's turn; until then it must not count as unhandled.
        loaded.catch(() => {})
        this.#loading.push({ offset: index * BLOCK_SIZE, length, loaded })
      }
      while (this.#loading.length > 0) await this.#writeNext()
      signal.throwIfAborted()
    } finally {
      for (const { loaded } of this.#loading) loaded.then(letGo, () => {})
    }
  }

  async #writeNext(): Promise<void> {
    const [block] = this.#loading
    if (!block) return
    const { offset, length } = block
    const loaded = await orAbort(block.loaded, this.#options.signal)
    this.#loading.shift()
    try {
      this.#options.reserve.demand(length)
      await writeAll(this.#file, bytesOf(loaded), offset)
    } finally {
      letGo(loaded)
    }
    this.#unsaved += length
    this.#space.set(Math.max(0, this.#space.amount - length))
    this.#tell(offset + length)
    if (length === BLOCK_SIZE) await this.#save(offset + length)
  }

  async #save(done: number): Promise<void> {
    if (this.#unsaved < SAVE_BYTES && performance.now() - this.#savedAt < SAVE_MS) return
    await this.#file.datasync()
    await saveProgress(this.#options.path, { manifest: this.#manifest.digest, done })
    this.#unsaved = 0
    this.#savedAt = performance.now()
  }

  #tell(done: number): void {
    const now = performance.now()
    if (now - this.#toldAt < TELL_MS) return
    this.#toldAt = now
    this.#options.onProgress(done)
  }

  /** Waits until so many bytes more are within the rate. */
  async #pace(bytes: number): Promise<void> {
    const { rate, signal } = this.#options
    if (rate === undefined) return
    const wait = this.#nextAt - performance.now()
    if (wait > 0) await delay(wait, undefined, { signal }).catch(() => signal.throwIfAborted())
    this.#nextAt = Math.max(this.#nextAt, performance.now()) + (bytes / rate) * 1000
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done)
    done += bytesWritten
  }
}
