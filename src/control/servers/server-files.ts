import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  lchown,
  link,
  lstat,
  mkdir,
  open,
  opendir,
  readdir,
  rename,
  rm,
  unlink,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { syncFolder } from '#base/sync-folder.ts'
import type { CreateLayer } from '#data/volume/volume.ts'
import { MACHINE_FILES, type UnixUser } from './qemu/machine.ts'

/*
 * A server's folder belongs to its QEMU, which may be in a stranger's hands: nothing here follows a link in it or opens
 * a file that is there already. What is made for it is made beside it, where he cannot put anything in its place before
 * it is given to him, and moved in when it is complete.
 */

const BESIDE = '~'
const besideOf = (folder: string, name: string) => `${folder}${BESIDE}${name}`
/** The server that something in the folder of all servers' folders is of. */
export const serverOf = (name: string) => name.split(BESIDE)[0] ?? ''

/** More than a server of ours has, and few enough to be looked through. */
const MOST_FILES = 10_000
const LAYER = /^layer-(\d+)\.qcow2$/

export const FIRST_LAYER = 'layer-0.qcow2'

export async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

export async function makeFolder(folder: string, owner: UnixUser | undefined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  await give(folder, owner)
}

/** Makes a file that is complete as soon as its name appears; where that fails, nothing of it stays. */
async function addFile(
  path: string,
  owner: UnixUser | undefined,
  make: (unfinished: string) => Promise<void>,
): Promise<void> {
  const unfinished = besideOf(dirname(path), basename(path))
  await rm(unfinished, { force: true })
  try {
    await make(unfinished)
    await give(unfinished, owner)
    await rename(unfinished, path)
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => {})
    throw error
  }
}

/** Makes an empty layer. */
export async function addLayerFile(
  createLayer: CreateLayer,
  folder: string,
  { name, size, owner }: { name: string; size: number; owner: UnixUser | undefined },
): Promise<void> {
  await addFile(join(folder, name), owner, (unfinished) => createLayer(unfinished, size))
  await syncFolder(folder)
}

export async function writeSeed(
  folder: string,
  seed: Uint8Array,
  owner: UnixUser | undefined,
): Promise<void> {
  await addFile(join(folder, MACHINE_FILES.seed), owner, async (unfinished) => {
    await using handle = await open(unfinished, 'wx', 0o400)
    await handle.writeFile(seed)
  })
}

/** @returns whether the base is in the folder now, on stable storage; false where there is no such file */
export async function linkBase(base: string, folder: string): Promise<boolean> {
  try {
    await link(base, join(folder, MACHINE_FILES.base))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return false
    if (code !== 'EEXIST') throw error
  }
  await syncFolder(folder)
  return true
}

/** A name that no layer of a server has, listed or not. */
export async function nextLayer(folder: string, layers: readonly string[]): Promise<string> {
  let last = -1
  for (const name of [...layers, ...(await listNames(folder))]) {
    last = Math.max(last, Number(LAYER.exec(name)?.[1] ?? -1))
  }
  return `layer-${last + 1}.qcow2`
}

/** Removes layers that nobody lists any more. */
export async function removeOtherLayers(folder: string, kept: Iterable<string>): Promise<void> {
  const keep = new Set(kept)
  for (const name of await listNames(folder)) {
    if (!LAYER.test(name) || keep.has(name)) continue
    const path = join(folder, name)
    // A folder is none of ours.
    await unlink(path).catch(() => removeAll(path))
  }
}

/**
 * Removes a server's folder and what lies beside it. In a folder that is somebody else's, names change while they are
 * looked at, and paths can be longer than the system takes: rm(1) goes by open folders and follows nothing.
 */
export async function removeFolder(folder: string): Promise<void> {
  const parent = dirname(folder)
  for (const name of await readdir(parent)) {
    if (serverOf(name) === basename(folder)) await removeAll(join(parent, name))
  }
}

async function removeAll(path: string): Promise<void> {
  const child = spawn('rm', ['-rf', '--', path], { stdio: 'ignore' })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new LibraryError('unavailable', `remove ${basename(path)}: rm answers ${code}`)
}

/** @throws unavailable where there are more than can be looked through */
async function listNames(folder: string): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of await opendir(folder)) {
    if (names.length === MOST_FILES)
      throw new LibraryError('unavailable', `list the files of a server: more than ${MOST_FILES}`)
    names.push(name)
  }
  return names
}

async function give(path: string, owner: UnixUser | undefined): Promise<void> {
  if (owner) await lchown(path, owner.uid, owner.gid)
}
