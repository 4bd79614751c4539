import { constants } from 'node:fs'
import { chmod, chown, type FileHandle, open, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import { MACHINE_FILES, type MachineSpec, type UnixUser } from './machine.ts'
import { MOST_TEXT, shortText } from './qmp.ts'

/** What QEMU says is for the operator; a guest that makes it say much fills no disk. */
const MOST_LOG = MiB

/** All that is complete of a base has these rights, and whoever QEMU runs as cannot change them. */
const BASE_MODE = 0o444

/**
 * Opens a file in a server's folder, in which a guest that broke out of its QEMU could have put anything: no link is
 * followed, no pipe waited for, and a base is not touched, whatever name it was given. Whether it has a second name
 * says nothing of that: the one in the folder can be taken away meanwhile.
 */
export async function openOwnFile(path: string, flags: number): Promise<FileHandle> {
  const safely = constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags | safely, 0o600).catch((cause: unknown) => {
    throw notOwn(path, cause)
  })
  const stat = await file.stat()
  if (stat.isFile() && stat.nlink === 1 && (stat.mode & 0o777) !== BASE_MODE) return file
  await file.close()
  throw notOwn(path)
}

const notOwn = (path: string, cause?: unknown) =>
  new LibraryError('unavailable', `open ${basename(path)} of a server: not a file of its own`, { cause })

/** Makes a file the user's that QEMU runs as, and nobody else's. */
export async function giveFile(path: string, user: UnixUser) {
  await using file = await openOwnFile(path, constants.O_RDONLY)
  const { uid, gid } = await file.stat()
  if (uid !== user.uid || gid !== user.gid) await file.chown(user.uid, user.gid)
  await file.chmod(0o600)
}

/** Brings to stable storage what QEMU wrote to a file so far. */
export async function syncFile(path: string): Promise<void> {
  await using file = await openOwnFile(path, constants.O_RDONLY)
  await file.datasync()
}

/** Empties QEMU's log where it has grown too long. */
export async function boundLog(folder: string): Promise<void> {
  await using file = await openOwnFile(join(folder, MACHINE_FILES.log), constants.O_WRONLY)
  if ((await file.stat()).size > MOST_LOG) await file.truncate()
}

/** Makes a folder ready for a QEMU and returns its new log, to be closed. */
export async function prepareFolder({ folder, layers, user }: MachineSpec): Promise<FileHandle> {
  if (user) {
    for (const name of [...layers, MACHINE_FILES.seed]) await giveFile(join(folder, name), user)
    await chown(folder, user.uid, user.gid)
  }
  await chmod(folder, 0o700)
  const { monitor, serial, vnc, agent, log } = MACHINE_FILES
  for (const name of [monitor, serial, vnc, agent, log]) await rm(join(folder, name), { force: true })
  return open(join(folder, log), 'ax+', 0o600)
}

/**
 * The last line of a log that says something, without the program's name; of a long one its end, where the reason is,
 * behind what QEMU was told.
 */
export async function lastLine(log: FileHandle): Promise<string> {
  const { size } = await log.stat()
  const length = Math.min(size, 4096)
  const { buffer } = await log.read(Buffer.alloc(length), 0, length, size - length)
  const lines = buffer.toString().split('\n')
  const last = lines.findLast((line) => line.trim() !== '') ?? ''
  const said = last.replace(/^[\w-]+: /, '').trim()
  return shortText(said.slice(-MOST_TEXT))
}
