import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { LibraryError } from '#base/errors.ts'

const SQLITE_BUSY = 5
const SQLITE_FULL = 13
const SQLITE_CANNOT_OPEN = 14

/**
 * Takes a data folder for this process alone.
 * @throws conflict where another process serves it
 */
export const lockDataFolder = (folder: string): Disposable =>
  takeLock(folder, {
    message: `another process serves the data folder ${folder}`,
    hint: 'stop that one first, or name another folder with --data',
  })

/** Makes this the only one that adds to a backup, or removes from it. @throws conflict */
export const lockBackup = (folder: string): Disposable =>
  takeLock(folder, {
    message: `another backup to ${folder} is under way`,
    hint: 'wait for that one to end',
  })

/**
 * Holds a lock until it is disposed of or the process ends, in whatever way. Node has no flock, but SQLite locks its
 * files, and the kernel takes those locks away with the process: none is ever stale.
 */
function takeLock(folder: string, refused: { readonly message: string; readonly hint: string }): Disposable {
  const database = new DatabaseSync(join(folder, 'lock.sqlite'), { timeout: 0, open: false })
  try {
    database.open()
    database.exec('pragma locking_mode = exclusive; pragma journal_mode = off; begin exclusive')
    // A file without a page gets one each time, which a full disk has no room for.
    const [version] = Object.values(database.prepare('pragma user_version').get() ?? {})
    if (version === 0) database.exec('pragma user_version = 1; commit')
  } catch (cause) {
    if (database.isOpen) database.close()
    const code = cause instanceof Error && 'errcode' in cause ? cause.errcode : undefined
    if (code === SQLITE_BUSY)
      throw new LibraryError('conflict', refused.message, { cause, hint: refused.hint })
    if (code !== SQLITE_CANNOT_OPEN && code !== SQLITE_FULL) throw cause
    throw new LibraryError('unavailable', `lock the folder ${folder}: no file can be made in it`, {
      cause,
    })
  }
  return { [Symbol.dispose]: () => database.close() }
}
