import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { isId } from '#model/ids.ts'
import type { LibraryOptions } from './deps.ts'

/** An upload that nothing is heard of for so long is given up. */
export const UPLOAD_HOURS = 24
export const UPLOAD_MS = UPLOAD_HOURS * 3600_000

/** The files that uploads are gathered in, each named by its image's id; gone when its registration ends. */
export class UploadFiles {
  readonly #folder: string
  readonly #reserve: LibraryOptions['reserve']

  constructor(folder: string, reserve: LibraryOptions['reserve']) {
    this.#folder = folder
    this.#reserve = reserve
  }

  pathOf(id: string): string {
    return join(this.#folder, id)
  }

  async sizeOf(id: string): Promise<number> {
    try {
      return (await stat(this.pathOf(id))).size
    } catch (error) {
      if (isMissing(error)) return 0
      throw error
    }
  }

  /**
   * Appends bytes from `offset` on.
   * @returns the size then; what came before an abort or an error is kept, too
   * @throws too_large before a byte past `limit` is written, unavailable where the disk refuses
   */
  async append(
    id: string,
    offset: number,
    bytes: AsyncIterable<Uint8Array>,
    options: {
      readonly limit: number
      readonly signal: AbortSignal
      readonly onProgress: (size: number) => void
    },
  ): Promise<number> {
    const { limit, signal, onProgress } = options
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    await using file = await open(this.pathOf(id), offset === 0 ? 'w' : 'r+', 0o600)
    let size = offset
    for await (const chunk of bytes) {
      signal.throwIfAborted()
      if (size + chunk.length > limit) {
        throw new LibraryError('too_large', `receive an upload of more than ${limit} bytes`)
      }
      this.#reserve.demand(chunk.length)
      await writeAll(file, chunk, size)
      size += chunk.length
      onProgress(size)
    }
    await file.sync()
    return size
  }

  async remove(id: string): Promise<void> {
    await rm(this.pathOf(id), { force: true })
  }

  /** Ids of the images that there are files of. */
  async list(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => isId('img', name))
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; ) {
      done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
    }
  } catch (cause) {
    throw new LibraryError('unavailable', 'keep the bytes of an upload', { cause })
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
