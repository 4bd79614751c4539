import type { Usage } from './files.ts'
import { PACKET_MAX, TRANSFER_MAX, uint64Fields } from './wire.ts'

/** Name and version of what we do beyond the protocol, as OpenSSH's PROTOCOL file defines it. */
export const EXTENSIONS: readonly (readonly [name: string, version: string])[] = [
  ['posix-rename@openssh.com', '1'],
  ['statvfs@openssh.com', '2'],
  ['fstatvfs@openssh.com', '2'],
  ['fsync@openssh.com', '1'],
  ['lsetstat@openssh.com', '1'],
  ['limits@openssh.com', '1'],
  ['expand-path@openssh.com', '1'],
  ['copy-data', '1'],
  ['home-directory', '1'],
]

/** Of `limits@openssh.com`: with it OpenSSH's client moves 255 KiB at a time, and 32 KiB without. */
export const limitsFields = (handles: number): Buffer =>
  uint64Fields(PACKET_MAX, TRANSFER_MAX, TRANSFER_MAX, handles)

const BLOCK = 4096
/** What there is where nobody set a quota. */
const ENDLESS = 2 ** 50
const NAME_MAX = 1024
/** Set user ids and devices mean nothing here. */
const NO_SETUID = 2

/** Of `statvfs@openssh.com`: the quota as a disk. */
export function statvfsFields({ bytesUsed, objectCount, quota }: Usage): Buffer {
  const size = quota ?? Math.max(ENDLESS, 2 * bytesUsed)
  const blocks = Math.ceil(size / BLOCK)
  const free = Math.floor(Math.max(0, size - bytesUsed) / BLOCK)
  const files = 2 ** 32
  const filesFree = Math.max(0, files - objectCount)
  return uint64Fields(BLOCK, BLOCK, blocks, free, free, files, filesFree, filesFree, 0, NO_SETUID, NAME_MAX)
}
