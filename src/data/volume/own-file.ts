import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import type { RandomBytes } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { attempting, systemCode } from '#data/store/storage-errors.ts'

export interface OwnFile extends RandomBytes, AsyncDisposable {
  /** Bytes when it was opened. */
  readonly size: number
}

/**
 * Opens a file of a server's folder for reading. QEMU may write there: what it may have put in the file's place, a
 * link or a pipe, is neither followed nor waited for.
 * @throws not_found; invalid for anything but a file; unavailable
 */
export async function openOwnFile(path: string): Promise<OwnFile> {
  const name = basename(path)
  await using opening = new AsyncDisposableStack()
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = opening.use(await attempting(`open ${name}`, () => open(path, flags).catch(refuse(name))))
  const stat = await attempting(`open ${name}`, () => file.stat())
  if (!stat.isFile()) throw new LibraryError('invalid', `open ${name}: it is no file`)
  opening.move()
  return {
    size: stat.size,
    async readAt(target, offset) {
      let filled = 0
      while (filled < target.length) {
        const place = { offset: filled, length: target.length - filled, position: offset + filled }
        const { bytesRead } = await attempting(`read ${name}`, () => file.read(target, place))
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return filled
    },
    [Symbol.asyncDispose]: () => file.close(),
  }
}

const refuse = (name: string) => (cause: unknown) => {
  const code = systemCode(cause)
  if (code === 'ENOENT') throw new LibraryError('not_found', `open ${name}: it is not there`, { cause })
  if (code === 'ELOOP') throw new LibraryError('invalid', `open ${name}: it is a link`, { cause })
  throw cause
}
