import { chmod, lchown, link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { CreateLayer } from '#data/volume/volume.ts'
import type { Owner } from './context.ts'
import { MACHINE_FILES } from './qemu/machine.ts'

/*
 * A server's folder belongs to its QEMU, which may be in a stranger's hands: nothing here follows a link in it or opens
 * a file that is there already.
 */

/** What is written under another name first, so that a file of the right name is complete. */
const UNFINISHED = '.new'
const LAYER = /^layer-(\d+)\.qcow2$/

export const FIRST_LAYER = 'layer-0.qcow2'

export async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

/** Puts a folder's entries on stable storage. */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r')
  await handle.sync()
}

export async function makeFolder(folder: string, owner: Owner | undefined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  await give(folder, owner)
}

/** Makes an empty layer, complete as soon as its name appears. */
export async function addLayerFile(
  createLayer: CreateLayer,
  folder: string,
  { name, size, owner }: { name: string; size: number; owner: Owner | undefined },
): Promise<void> {
  const unfinished = join(folder, name + UNFINISHED)
  await rm(unfinished, { recursive: true, force: true })
  try {
    await createLayer(unfinished, size)
    await give(unfinished, owner)
    await rename(unfinished, join(folder, name))
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => {})
    throw error
  }
  await syncFolder(folder)
}

export async function writeSeed(folder: string, seed: Uint8Array, owner: Owner | undefined): Promise<void> {
  const unfinished = join(folder, MACHINE_FILES.seed + UNFINISHED)
  await rm(unfinished, { recursive: true, force: true })
  {
    await using handle = await open(unfinished, 'wx', 0o400)
    await handle.writeFile(seed)
  }
  await give(unfinished, owner)
  await rename(unfinished, join(folder, MACHINE_FILES.seed))
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
  const numbers = [...layers, ...(await readdir(folder))].map((name) => Number(LAYER.exec(name)?.[1] ?? -1))
  return `layer-${Math.max(...numbers) + 1}.qcow2`
}

/** Removes layers that nobody lists any more. */
export async function removeOtherLayers(folder: string, kept: Iterable<string>): Promise<void> {
  const keep = new Set(kept)
  for (const name of await readdir(folder)) {
    if (LAYER.test(name.replace(UNFINISHED, '')) && !keep.has(name)) await rm(join(folder, name))
  }
}

async function give(path: string, owner: Owner | undefined): Promise<void> {
  if (owner) await lchown(path, owner.uid, owner.gid)
}
