import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { MiB, type RandomBytes } from '#base/bytes.ts'
import { assert, LibraryError } from '#base/errors.ts'

/** Bytes gathered before they are written, twice: one half fills while the other is being written. */
const BATCH_SIZE = MiB

/** A file that grows at one end while it is read at any place; it has no name, so a crash leaves nothing. */
export interface Spool extends AsyncDisposable {
  /** What has been written; a read waits for bytes on their way, and rejects once the spool has failed. */
  readonly bytes: RandomBytes
  /** For threads that read the file themselves; valid until the spool is disposed, and only below `waitFor`. */
  readonly fd: number
  /**
   * Takes a chunk; its memory is free again once the promise resolves. One call at a time.
   * @throws unavailable (the disk), or what the spool failed with
   */
  write(chunk: Uint8Array): Promise<void>
  /** No more bytes will come; resolves once all can be read. */
  end(): Promise<void>
  /** No more bytes will come, and none are to be read: every wait, now and later, rejects with `error`. */
  fail(error: unknown): void
  /**
   * Waits until the bytes below `offset` are in the file, or all of them where there are fewer.
   * @returns how many bytes there are in the file
   */
  waitFor(offset: number): Promise<number>
}

/**
 * Makes a spool in a folder of ours. Memory is 2 MiB whatever the size.
 * @throws unavailable where the folder cannot be written to
 */
export async function createSpool({
  directory,
  signal,
  openFile = open,
}: {
  readonly directory: string
  readonly signal: AbortSignal
  readonly openFile?: typeof open
}): Promise<Spool> {
  signal.throwIfAborted()
  const file = await openUnnamed(directory, openFile)
  const writer = new BatchWriter(file)

  const onAbort = () => writer.fail(signal.reason)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()

  const readAt = async (target: Uint8Array, offset: number) => {
    const available = await writer.waitFor(offset + target.length)
    const wanted = Math.max(0, Math.min(target.length, available - offset))
    let filled = 0
    while (filled < wanted) {
      const { bytesRead } = await file.read(target, filled, wanted - filled, offset + filled)
      assert(bytesRead > 0, 'the spool file is shorter than what was written')
      filled += bytesRead
    }
    return filled
  }
  return {
    bytes: {
      get size() {
        return writer.size
      },
      readAt,
    },
    fd: file.fd,
    write: (chunk) => writer.write(chunk),
    end: () => writer.end(),
    fail: (error) => writer.fail(error),
    waitFor: (offset) => writer.waitFor(offset),
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', onAbort)
      writer.fail(new Error('the spool was closed'))
      await writer.idle()
      await file.close()
    },
  }
}

/** Opens a file that nobody else can, and takes its name away at once. */
async function openUnnamed(directory: string, openFile: typeof open): Promise<FileHandle> {
  const path = join(directory, `spool-${randomUUID()}`)
  try {
    const file = await openFile(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
    try {
      await unlink(path)
      return file
    } catch (error) {
      await file.close()
      throw error
    }
  } catch (cause) {
    throw diskFailure('make a spool file', cause)
  }
}

interface Waiter {
  readonly offset: number
  readonly resolve: () => void
}

/** Writes small chunks in large pieces, one at a time, and tells who waits for them. */
class BatchWriter {
  readonly #file: FileHandle
  #filling = Buffer.allocUnsafeSlow(BATCH_SIZE)
  #spare = Buffer.allocUnsafeSlow(BATCH_SIZE)
  /** Bytes in `#filling`. */
  #gathered = 0
  #written = 0
  #hasEnded = false
  #failure: { readonly error: unknown } | undefined
  #flushing: Promise<void> | undefined
  #waiters: Waiter[] = []

  constructor(file: FileHandle) {
    this.#file = file
  }

  get size(): number | undefined {
    return this.#isOver && !this.#failure ? this.#written : undefined
  }

  async write(chunk: Uint8Array): Promise<void> {
    assert(!this.#hasEnded, 'a spool was written to after its end')
    for (let at = 0; at < chunk.length; ) {
      this.#throwIfFailed()
      const length = Math.min(BATCH_SIZE - this.#gathered, chunk.length - at)
      this.#filling.set(chunk.subarray(at, at + length), this.#gathered)
      this.#gathered += length
      at += length
      this.#flushIfWanted()
      // Backpressure: both halves are full.
      while (this.#gathered === BATCH_SIZE && this.#flushing !== undefined) await this.#flushing
    }
    this.#throwIfFailed()
  }

  async end(): Promise<void> {
    this.#hasEnded = true
    this.#flushIfWanted()
    await this.idle()
    this.#throwIfFailed()
    this.#wake()
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wake()
  }

  async waitFor(offset: number): Promise<number> {
    this.#throwIfFailed()
    if (offset > this.#written && !this.#isOver) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiters.push({ offset, resolve })
      this.#flushIfWanted()
      await promise
      this.#throwIfFailed()
    }
    return this.#written
  }

  /** Waits until no write is under way. */
  async idle(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing
  }

  /** Nothing more will be written. */
  get #isOver(): boolean {
    if (this.#failure) return true
    return this.#hasEnded && this.#gathered === 0 && this.#flushing === undefined
  }

  #flushIfWanted(): void {
    if (this.#flushing !== undefined || this.#failure || this.#gathered === 0) return
    const end = this.#written + this.#gathered
    const isWanted = this.#hasEnded || this.#waiters.some(({ offset }) => offset <= end)
    if (!isWanted && this.#gathered < BATCH_SIZE) return
    const bytes = this.#filling.subarray(0, this.#gathered)
    const next = this.#spare
    this.#spare = this.#filling
    this.#filling = next
    this.#gathered = 0
    this.#flushing = this.#writeOut(bytes)
  }

  async #writeOut(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#written)
        done += bytesWritten
        this.#written += bytesWritten
      }
    } catch (cause) {
      this.fail(diskFailure('write the spool file', cause))
    } finally {
      this.#flushing = undefined
      // Somebody may wait for what has been gathered in the meantime, and no further chunk need ever come.
      this.#flushIfWanted()
      this.#wake()
    }
  }

  #wake(): void {
    const isReady = ({ offset }: Waiter) => this.#isOver || offset <= this.#written
    const ready = this.#waiters.filter(isReady)
    if (ready.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => !isReady(waiter))
    for (const { resolve } of ready) resolve()
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error
  }
}

function diskFailure(what: string, cause: unknown): LibraryError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  return new LibraryError('unavailable', isFull ? `${what}: the disk is full` : what, {
    cause,
    hint: isFull
      ? 'Free some space on the disk that holds the data folder, then try again.'
      : 'Look at the disk that holds the data folder.',
  })
}
