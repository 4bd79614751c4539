import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { LibraryError } from '#base/errors.ts'

const SQLITE_BUSY = 5

/**
 * Takes a data folder for this process alone, until disposed of or the process ends, in whatever way. Node has no
 * flock, but SQLite locks its files, and the kernel takes those locks away with the process: none is ever stale.
 * @throws conflict where another process has it
 */
export function lockDataFolder(folder: string): Disposable {
  const database = new DatabaseSync(join(folder, 'lock.sqlite'), { timeout: 0 })
  try {
    database.exec('pragma journal_mode = off; begin exclusive')
  } catch (cause) {
    database.close()
    if (!(cause instanceof Error && 'errcode' in cause && cause.errcode === SQLITE_BUSY)) throw cause
    throw new LibraryError('conflict', `another process serves the data folder ${folder}`, {
      cause,
      hint: 'stop that one first, or name another folder with --data',
    })
  }
  return { [Symbol.dispose]: () => database.close() }
}
