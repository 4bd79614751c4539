import { chmod, chown, rename, rm, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { createCounts } from '#base/counts.ts'
import { LibraryError } from '#base/errors.ts'
import { exportsOfOne, type OpenDisk, type OpenExport } from './exports.ts'
import { startNbdService } from './service.ts'

/** Bytes of a Unix socket's path (unix(7)), its final zero and our own suffix left off. */
const PATH_MAX = 107
const SUFFIX = '~'
const SOCKET_MODE = 0o600

/** QEMU has one connection, and another when that breaks; each may hold a block in memory. */
const OWNER_CONNECTIONS = 8
/** Blocks beyond that: one that takes nothing of what it asked for leaves enough to others. */
const OWNER_SHARE = 8

/** A guest's machine may be held for days: only the handshake is bounded. */
const LIMITS = { negotiationMs: 30_000, stallMs: undefined }

export interface SocketOffer {
  /** An absolute path; a socket that is there is replaced. Where it has another owner, its folder may be his too. */
  readonly path: string
  /** Names of the export; the first is told to whoever asks for a list. */
  readonly names: readonly string[]
  readonly open: () => Promise<OpenExport>
  /** Whom the socket belongs to, where that is somebody else. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined
  readonly log: Pick<Logger, 'error'>
}

/**
 * Offers a disk on a Unix socket, which nobody but its owner may open, until disposed of.
 * @throws invalid for a path that is too long; unavailable or denied where there can be no socket
 */
export async function offerOnSocket(options: SocketOffer): Promise<AsyncDisposable> {
  const { path, names, open, owner, log } = options
  const length = Buffer.byteLength(path + SUFFIX)
  if (length > PATH_MAX) {
    throw new LibraryError('invalid', `listen on ${path}: its path has ${length - 1} bytes, more than 106`, {
      hint: 'Choose a folder with a shorter path.',
    })
  }
  const exports = exportsOfOne(names, open)
  // Beside the owner's folder: in it, he could put a link in the socket's place before it is given to him.
  const made = owner ? dirname(path) + SUFFIX : path + SUFFIX
  try {
    await rm(made, { force: true })
    await using opened = new AsyncDisposableStack()
    const connections = createCounts(owner ? OWNER_CONNECTIONS : Number.POSITIVE_INFINITY)
    const share = owner ? OWNER_SHARE : undefined
    const admit = () => {
      const visit = connections.enter('')
      return visit && { exports, [Symbol.dispose]: () => visit[Symbol.dispose]() }
    }
    opened.use(await startNbdService({ where: { path: made }, admit, limits: LIMITS, share, log }))
    opened.defer(() => rm(made, { force: true }))
    await chmod(made, SOCKET_MODE)
    if (owner) await chown(made, owner.uid, owner.gid)
    // Only now is it seen by those it is for, in one step in place of what a dead process left there.
    await rename(made, path)
    // What its owner made of it since is his.
    opened.defer(() => unlink(path).catch(() => {}))
    return opened.move()
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined
    if (cause instanceof LibraryError || code === undefined) throw cause
    throw new LibraryError('unavailable', `listen on ${path}: the system answers ${code}`, { cause })
  }
}

/** Makes the function by which servers have images offered; whoever calls it keeps the manifest from collection. */
export function createOffer({ openDisk, log }: { openDisk: OpenDisk; log: Pick<Logger, 'error'> }) {
  return (options: Pick<SocketOffer, 'path' | 'owner'> & { readonly manifest: string }) =>
    offerOnSocket({
      ...{ path: options.path, owner: options.owner, log },
      names: ['', options.manifest],
      open: () => openExport(openDisk, options.manifest),
    })
}

/** @param held is given back with the disk */
export async function openExport(
  openDisk: OpenDisk,
  manifest: string,
  held?: AsyncDisposable,
): Promise<OpenExport> {
  await using opening = new AsyncDisposableStack()
  if (held) opening.use(held)
  const disk = opening.use(await openDisk(manifest))
  const closing = opening.move()
  return { disk, [Symbol.asyncDispose]: () => closing.disposeAsync() }
}
