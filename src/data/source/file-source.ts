import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { MiB } from '#base/bytes.ts'
import type { ImportLimits } from '#base/limits.ts'
import { Refusal, SourceFailure } from '#base/refusal.ts'
import { sourceTooLarge } from './failure.ts'
import type { Source } from './source.ts'

const READ_SIZE = MiB

/**
 * Opens a file that the library wrote itself, such as an upload; never a path that a user named.
 * @throws SourceFailure where it is gone, too-large; the stream throws `truncated` where it ends early
 */
export async function openFileSource(options: {
  readonly path: string
  readonly limits: ImportLimits
  readonly signal: AbortSignal
}): Promise<Source> {
  const { path, limits, signal } = options
  signal.throwIfAborted()
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause) => {
    throw gone(cause)
  })
  let received = 0
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw gone(undefined)
    if (stat.size > limits.sourceSize) throw sourceTooLarge(stat.size, limits.sourceSize)
    return {
      stream: readAll(file, stat.size, signal, (bytes) => {
        received += bytes
      }),
      finalUrl: undefined,
      size: stat.size,
      isEndTold: true,
      etag: undefined,
      lastModified: undefined,
      contentType: undefined,
      received: () => received,
      [Symbol.asyncDispose]: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

const gone = (cause: unknown) =>
  new SourceFailure('The uploaded file is no longer there.', {
    retryable: false,
    hint: 'Upload it again.',
    ...(cause === undefined ? {} : { cause }),
  })

/** Reads one piece ahead, so that the disk works while the consumer does. */
async function* readAll(
  file: FileHandle,
  size: number,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const buffers = [Buffer.allocUnsafeSlow(READ_SIZE), Buffer.allocUnsafeSlow(READ_SIZE)] as const
  let turn = 0
  const readNext = (offset: number) =>
    file.read(buffers[turn++ % 2 === 0 ? 0 : 1], 0, Math.min(READ_SIZE, size - offset), offset)
  let pending: ReturnType<typeof readNext> | undefined
  let offset = 0
  try {
    while (offset < size) {
      signal.throwIfAborted()
      const { bytesRead, buffer } = await (pending ?? readNext(offset))
      pending = undefined
      if (bytesRead === 0) {
        throw new Refusal('truncated', `The file ends too early (${offset} bytes). Is the upload complete?`)
      }
      offset += bytesRead
      onBytes(bytesRead)
      if (offset < size) {
        pending = readNext(offset)
        // Its failure is met when it is awaited; until then it must not count as unhandled.
        pending.catch(() => {})
      }
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await pending?.catch(() => {})
  }
}
