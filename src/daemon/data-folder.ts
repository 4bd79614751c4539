import { access, chmod, constants, mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { syncFolder } from '#base/sync-folder.ts'
import type { CatalogPlace } from '#control/catalog/catalog.ts'
import type { Config } from './config.ts'

/** Nobody else may look in: there are hashes of passwords, and URLs that carry the right to read something. */
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600
const OPEN_TO_OTHERS = 0o077

const CATALOG = 'catalog.sqlite'
const FILES = [CATALOG, `${CATALOG}-wal`, `${CATALOG}-shm`, 'lock.sqlite']
const FOLDERS = ['store', 'spool', 'servers']

export const catalogPath = (folder: string): string => join(folder, CATALOG)

/** In the data folder, unless the settings name a database. */
export const catalogPlace = ({ data, catalog }: Pick<Config, 'data' | 'catalog'>): CatalogPlace =>
  catalog ?? { path: catalogPath(data) }

/**
 * Makes the data folder, and those above it, where they are missing. One by one: Node's recursive mkdir never ends
 * where the system has a folder but makes none in it, as in /proc.
 * @throws invalid, denied or unavailable, naming the folder
 */
export async function makeDataFolder(folder: string): Promise<void> {
  const missing: string[] = []
  try {
    for (let at = folder; !(await exists(at)); at = dirname(at)) missing.unshift(at)
    for (const each of missing) {
      await mkdir(each, { mode: FOLDER_MODE })
      await syncFolder(dirname(each))
    }
    await demandUsable(folder)
  } catch (error) {
    throw unusable(folder, error)
  }
}

/** @throws not_found where no library is in it; invalid, denied or unavailable */
export async function demandLibrary(folder: string): Promise<void> {
  let found: boolean
  try {
    found = await exists(folder)
    if (found) {
      await demandUsable(folder)
      found = await exists(catalogPath(folder))
    }
  } catch (error) {
    throw unusable(folder, error)
  }
  if (found) return
  // Else a mistyped path would become an empty library.
  throw new LibraryError('not_found', `open the data folder ${folder}: there is no library in it`, {
    hint: 'name the folder with --data; image-library serve makes a new one',
  })
}

/**
 * Takes away what others may do with files of ours that were made before, under whatever umask.
 * @returns whether others may still look into the folder itself, which is its maker's to decide
 */
export async function closeToOthers(folder: string): Promise<boolean> {
  for (const name of FILES) await chmodExisting(join(folder, name), FILE_MODE)
  for (const name of FOLDERS) await chmodExisting(join(folder, name), FOLDER_MODE)
  return ((await stat(folder)).mode & OPEN_TO_OTHERS) !== 0
}

async function chmodExisting(path: string, mode: number): Promise<void> {
  try {
    await chmod(path, mode)
  } catch (error) {
    // What is another user's cannot be changed; whether it can be used is seen when it is.
    if (!['ENOENT', 'EPERM', 'EROFS'].includes(codeOf(error))) throw error
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

async function demandUsable(folder: string): Promise<void> {
  if (!(await stat(folder)).isDirectory())
    throw new LibraryError('invalid', `use the data folder ${folder}: it is not a folder`)
  await access(folder, constants.R_OK | constants.W_OK | constants.X_OK)
}

function unusable(folder: string, cause: unknown): LibraryError {
  if (cause instanceof LibraryError) return cause
  const code = codeOf(cause)
  const what = `use the data folder ${folder}`
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new LibraryError('denied', `${what}: the system does not allow it (${code})`, { cause })
    case 'ENOTDIR':
    case 'EEXIST':
      return new LibraryError('invalid', `${what}: something in its path is not a folder`, { cause })
    case 'ENOENT':
      return new LibraryError('invalid', `${what}: the system makes no folder there`, { cause })
    default:
      return new LibraryError('unavailable', code ? `${what} (${code})` : what, { cause })
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : ''
