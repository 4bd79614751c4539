import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { LibraryError } from '#base/errors.ts'

const SQLITE_BUSY = 5

/**
 * Takes a data folder for this process alone.
 * @throws conflict where another process serves it
 */
export const lockDataFolder = (folder: string): Disposable =>
  takeLock(join(folder, 'lock.sqlite'), {
    message: `another process serves the data folder ${folder}`,
    hint: 'stop that one first, or name another folder with --data',
  })

/**
 * Makes this the only collection of a data folder: two would walk all manifests for the same blocks, and report wrongly
 * what they removed.
 * @throws conflict where another one is under way
 */
export const lockCollection = (folder: string): Disposable =>
  takeLock(join(folder, 'collect.sqlite'), {
    message: `another collection of the data folder ${folder} is under way`,
    hint: 'wait for that one to end',
  })

/**
 * Holds a lock until it is disposed of or the process ends, in whatever way. Node has no flock, but SQLite locks its
 * files, and the kernel takes those locks away with the process: none is ever stale.
 */
function takeLock(path: string, refused: { readonly message: string; readonly hint: string }): Disposable {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('pragma journal_mode = off; begin exclusive')
  } catch (cause) {
    database.close()
    if (!(cause instanceof Error && 'errcode' in cause && cause.errcode === SQLITE_BUSY)) throw cause
    throw new LibraryError('conflict', refused.message, { cause, hint: refused.hint })
  }
  return { [Symbol.dispose]: () => database.close() }
}
