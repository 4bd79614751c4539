import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { assert, LibraryError } from '#base/errors.ts'

/** Pages that wait on disk, each in the slot of its number. */
export interface Spill extends Disposable {
  write(page: Uint8Array, slot: number): void
  /** Fills `page`, which was written before. */
  read(page: Uint8Array, slot: number): void
}

/**
 * Opens a nameless file in `directory`: it is gone with the process, whatever happens. Its calls block, which is
 * cheap: one page is moved for every 512 MiB of disk.
 * @param pageSize bytes
 * @throws unavailable where the disk is full or fails
 */
export function openSpill(directory: string, pageSize: number): Spill {
  const path = join(directory, `manifest-${randomUUID()}`)
  const file = attempt(() => {
    const opened = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    return opened
  })
  return {
    write(page, slot) {
      assert(page.length === pageSize, 'a spilled page is whole')
      for (let done = 0; done < pageSize; )
        done += attempt(() => writeSync(file, page, done, pageSize - done, slot * pageSize + done))
    },
    read(page, slot) {
      const got = attempt(() => readSync(file, page, 0, pageSize, slot * pageSize))
      assert(got === pageSize, 'a spilled page was written whole')
    },
    [Symbol.dispose]: () => closeSync(file),
  }
}

function attempt<T>(call: () => T): T {
  try {
    return call()
  } catch (cause) {
    const hint = 'Look at the free space and the rights of the data folder, then try again.'
    throw new LibraryError('unavailable', 'keep pages of a manifest on disk', { cause, hint })
  }
}
