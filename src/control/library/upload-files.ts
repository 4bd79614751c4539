import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { syncFolder } from '#base/sync-folder.ts'
import { isId } from '#model/ids.ts'
import type { LibraryOptions } from './deps.ts'

/** An upload that nothing is heard of for so long is given up. */
export const UPLOAD_HOURS = 24
export const UPLOAD_MS = UPLOAD_HOURS * 3600_000
/** After how long a file that could not be removed is tried again. */
const REMOVE_AGAIN_MS = 60_000

/** The files that uploads are gathered in, each named by its image's id; gone when its registration ends. */
export class UploadFiles {
  readonly #folder: string
  readonly #reserve: LibraryOptions['reserve']
  readonly #receiving = new Map<string, AbortController>()

  constructor(folder: string, reserve: LibraryOptions['reserve']) {
    this.#folder = folder
    this.#reserve = reserve
  }

  pathOf(id: string): string {
    return join(this.#folder, id)
  }

  isReceiving(id: string): boolean {
    return this.#receiving.has(id)
  }

  /**
   * Takes a file for one part, until disposed of.
   * @returns a signal that aborts when the file is removed
   * @throws conflict where another part is being received
   */
  take(id: string): Disposable & { readonly removed: AbortSignal } {
    if (this.isReceiving(id))
      throw new LibraryError('conflict', `image ${id} is receiving another part of its upload`)
    const abort = new AbortController()
    this.#receiving.set(id, abort)
    return { removed: abort.signal, [Symbol.dispose]: () => this.#receiving.delete(id) }
  }

  async sizeOf(id: string): Promise<number> {
    const found = await keeping(unlessMissing(stat(this.pathOf(id))))
    return found?.size ?? 0
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
      readonly removed: AbortSignal
      readonly onProgress: (size: number) => void
    },
  ): Promise<number> {
    const { limit, signal, removed, onProgress } = options
    await keeping(mkdir(this.#folder, { recursive: true, mode: 0o700 }))
    await using file = await keeping(open(this.pathOf(id), offset === 0 ? 'w' : 'r+', 0o600))
    let size = offset
    for await (const chunk of endedBy(removed, bytes)) {
      signal.throwIfAborted()
      if (size + chunk.length > limit) {
        throw new LibraryError('too_large', `receive an upload of more than ${limit} bytes`)
      }
      this.#reserve.demand(chunk.length)
      await keeping(writeAll(file, chunk, size))
      size += chunk.length
      onProgress(size)
    }
    await keeping(file.sync())
    // Each time: the part that made the file may have broken off before it came to this.
    await keeping(this.#syncNames())
    return size
  }

  /** Else a power cut could leave the bytes of an upload without a name. */
  async #syncNames(): Promise<void> {
    for (const path of [this.#folder, dirname(this.#folder)]) await syncFolder(path)
  }

  /**
   * Also ends the part that is being received, which else would go on into a file without a name.
   * @throws unavailable where the disk refuses; it is tried again until it does not
   */
  async remove(id: string): Promise<void> {
    this.#receiving.get(id)?.abort(new LibraryError('conflict', `image ${id} waits for no upload any more`))
    await keeping(this.#remove(id))
  }

  async #remove(id: string): Promise<void> {
    try {
      await rm(this.pathOf(id), { force: true })
    } catch (error) {
      // Nobody else may come to it: what the upload was for has ended.
      setTimeout(() => void this.#remove(id).catch(() => {}), REMOVE_AGAIN_MS).unref()
      throw error
    }
  }

  /** Ids of the images that there are files of. */
  async list(): Promise<string[]> {
    const names = await keeping(unlessMissing(readdir(this.#folder)))
    return (names ?? []).filter((name) => isId('img', name))
  }
}

/** Passes on until the signal aborts, also while the source is silent; the source is then told, and not waited for. */
async function* endedBy(signal: AbortSignal, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]()
  let stop: (reason: unknown) => void = () => {}
  const onAbort = () => stop(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    for (;;) {
      signal.throwIfAborted()
      const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        stop = reject
        iterator.next().then(resolve, reject)
      })
      if (next.done) return
      yield next.value
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    // A silent source answers only once it speaks again.
    void iterator.return?.().catch(() => undefined)
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
  }
}

/** A call of the file system, whose errors are the disk's. */
async function keeping<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (cause) {
    throw new LibraryError('unavailable', 'keep the bytes of an upload', { cause })
  }
}

async function unlessMissing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
