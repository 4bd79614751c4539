import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { FileOperations } from './file-set.ts'
import { systemCode } from './storage-errors.ts'
import type { Generation } from './store.ts'

/** Whole seconds of a file's time, for not every file system keeps less. */
const STEP = 1000

type Timed = { readonly mtimeMs: number }

/** The generation that a file is marked with: its modification time, which has nothing to do with any clock. */
export const generationOf = ({ mtimeMs }: Timed): Generation => Math.floor(mtimeMs / STEP) * STEP

export async function mark(handle: Pick<FileHandle, 'utimes'>, generation: Generation): Promise<void> {
  await handle.utimes(generation / 1000, generation / 1000)
}

/**
 * The present generation of a store, for all threads and processes: the time of the file `generation`. It begins with
 * the clock's, so that what older versions marked with that is of an earlier generation.
 * @see docs/decisions/0038-generations-instead-of-clocks.md
 */
export class Generations {
  readonly #files: FileOperations
  readonly #path: string

  constructor(directory: string, files: FileOperations) {
    this.#files = files
    this.#path = join(directory, 'generation')
  }

  /** Makes the file where there is none. */
  async open(): Promise<void> {
    try {
      await (await this.#files.open(this.#path, 'wx', 0o640)).close()
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
  }

  async present(): Promise<Generation> {
    return generationOf(await this.#files.stat(this.#path))
  }

  async next(): Promise<Generation> {
    await using handle = await this.#files.open(this.#path, 'r')
    const next = generationOf(await handle.stat()) + STEP
    await mark(handle, next)
    return next
  }
}
