import * as fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import type { FileOperations } from './file-set.ts'

/**
 * The calls that a store makes, done at once by the thread that asks. For block workers: they have nothing else to do
 * meanwhile, and a small file costs half as much as by way of the thread pool.
 */
export const blockingFiles = {
  link: async (from: string, to: string) => fs.linkSync(from, to),
  mkdir: async (path: string, options: fs.MakeDirectoryOptions) => fs.mkdirSync(path, options),
  open: async (path: string, flags: string, mode?: number) => blockingHandle(fs.openSync(path, flags, mode)),
  readdir: async (path: string) => fs.readdirSync(path),
  rename: async (from: string, to: string) => fs.renameSync(from, to),
  stat: async (path: string) => fs.statSync(path),
  unlink: async (path: string) => fs.unlinkSync(path),
} as unknown as FileOperations

type Used = Pick<FileHandle, 'stat' | 'read' | 'write' | 'utimes' | 'sync' | 'close'> & AsyncDisposable

function blockingHandle(fd: number): Used {
  const close = async () => fs.closeSync(fd)
  const handle = {
    stat: async () => fs.fstatSync(fd),
    read: async (target: Uint8Array, offset: number, length: number, position: number) => ({
      bytesRead: fs.readSync(fd, target, offset, length, position),
      buffer: target,
    }),
    write: async (source: Uint8Array, offset: number, length: number) => ({
      bytesWritten: fs.writeSync(fd, source, offset, length),
      buffer: source,
    }),
    utimes: async (accessed: number, modified: number) => fs.futimesSync(fd, accessed, modified),
    sync: async () => fs.fsyncSync(fd),
    close,
    [Symbol.asyncDispose]: close,
  }
  return handle as unknown as Used
}
