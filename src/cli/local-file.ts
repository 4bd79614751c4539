import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Readable } from 'node:stream'
import { describeErrno } from './config-file.ts'
import { CommandError } from './failure.ts'

/** A file of this machine that is to be sent. */
export interface LocalFile extends AsyncDisposable {
  readonly path: string
  /** The file's own name. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** When it was changed: seconds since 1970, as Swift's clients write it into metadata. */
  readonly mtime: string
  /** Fills `target` from `offset` on. @throws an error that names the file, where it became shorter */
  read(target: Buffer, offset: number): Promise<void>
}

/** @throws an error that names the file, where it is none that can be sent */
export async function openLocalFile(path: string): Promise<LocalFile> {
  let file: FileHandle
  try {
    file = await open(path)
  } catch (cause) {
    throw new CommandError(`read ${path}: ${describeErrno(cause)}`, { cause })
  }
  const stat = await file.stat()
  if (!stat.isFile()) {
    await file.close()
    throw new CommandError(`read ${path}: it is not a regular file`)
  }
  return {
    path,
    name: basename(path),
    size: stat.size,
    mtime: (stat.mtimeMs / 1000).toFixed(6),
    async read(target, offset) {
      for (let done = 0; done < target.length; ) {
        const { bytesRead } = await file.read(target, done, target.length - done, offset + done)
        if (bytesRead === 0) throw new CommandError(`read ${path}: it became shorter while it was sent`)
        done += bytesRead
      }
    },
    [Symbol.asyncDispose]: () => file.close(),
  }
}

/**
 * The first bytes of a file or stream, all of it where it has no more.
 * @throws an error that names the file, where it cannot be read
 */
export async function readStart(source: string | Readable, most: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let left = most
  try {
    const stream = typeof source === 'string' ? createReadStream(source) : source
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      chunks.push(chunk.subarray(0, left))
      left -= Math.min(left, chunk.length)
      if (left === 0) break
    }
  } catch (cause) {
    const name = typeof source === 'string' ? source : 'stdin'
    throw new CommandError(`read ${name}: ${describeErrno(cause)}`, { cause })
  }
  return Buffer.concat(chunks)
}
