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
  const writer = createBatchWriter(file)

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
        return writer.size()
      },
      readAt,
    },
    fd: file.fd,
    write: writer.write,
    end: writer.end,
    fail: writer.fail,
    waitFor: writer.waitFor,
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
function createBatchWriter(file: FileHandle) {
  let filling = Buffer.allocUnsafeSlow(BATCH_SIZE)
  let spare = Buffer.allocUnsafeSlow(BATCH_SIZE)
  let gathered = 0
  let written = 0
  let hasEnded = false
  let failure: { readonly error: unknown } | undefined
  let flushing: Promise<void> | undefined
  let waiters: Waiter[] = []

  const wake = () => {
    const isOver = failure !== undefined || (hasEnded && gathered === 0 && !flushing)
    const ready = waiters.filter(({ offset }) => isOver || offset <= written)
    if (ready.length === 0) return
    waiters = waiters.filter((waiter) => !ready.includes(waiter))
    for (const { resolve } of ready) resolve()
  }
  const fail = (error: unknown) => {
    failure ??= { error }
    wake()
  }
  const throwIfFailed = () => {
    if (failure) throw failure.error
  }
  const writeOut = async (bytes: Uint8Array) => {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, written)
        done += bytesWritten
        written += bytesWritten
      }
    } catch (cause) {
      fail(diskFailure('write the spool file', cause))
    } finally {
      flushing = undefined
      // Somebody may wait for what has been gathered in the meantime, and no further chunk need ever come.
      flushIfWanted()
      wake()
    }
  }
  const flush = () => {
    const bytes = filling.subarray(0, gathered)
    const next = spare
    spare = filling
    filling = next
    gathered = 0
    flushing = writeOut(bytes)
  }
  const flushIfWanted = () => {
    if (flushing || failure || gathered === 0) return
    const isWanted = hasEnded || waiters.some(({ offset }) => offset <= written + gathered)
    if (isWanted || gathered === BATCH_SIZE) flush()
  }

  return {
    async write(chunk: Uint8Array) {
      assert(!hasEnded, 'a spool was written to after its end')
      for (let at = 0; at < chunk.length; ) {
        throwIfFailed()
        const length = Math.min(BATCH_SIZE - gathered, chunk.length - at)
        filling.set(chunk.subarray(at, at + length), gathered)
        gathered += length
        at += length
        flushIfWanted()
        // Backpressure: both halves are full.
        while (gathered === BATCH_SIZE && flushing !== undefined) await flushing
      }
      throwIfFailed()
    },
    async end() {
      hasEnded = true
      flushIfWanted()
      while (flushing !== undefined) await flushing
      throwIfFailed()
      wake()
    },
    fail,
    async waitFor(offset: number) {
      throwIfFailed()
      if (offset > written && !(hasEnded && gathered === 0 && !flushing)) {
        const { promise, resolve } = Promise.withResolvers<void>()
        waiters.push({ offset, resolve })
        flushIfWanted()
        await promise
        throwIfFailed()
      }
      return written
    },
    size: () => (hasEnded && !failure && gathered === 0 && !flushing ? written : undefined),
    async idle() {
      while (flushing !== undefined) await flushing
    },
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
