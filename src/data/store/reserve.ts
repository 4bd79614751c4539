import { statfsSync } from 'node:fs'
import { GiB, MiB } from '#base/bytes.ts'
import { Ledger, type Promised } from '#base/ledger.ts'
import { NoRoom } from '#base/no-room.ts'

/** Enough for the blocks that are on their way when the space runs out. */
const LEAST = 4 * MiB
const MOST = GiB / 4
const SHARE = 100

/** Space that images must leave free, so that the catalog and the logs can still be written. */
export interface Reserve {
  /**
   * To be called before anything long is written, and often while it is: a look at the file system takes microseconds.
   * @param bytes about to be written
   * @throws NoRoom where they would not leave enough
   */
  demand(bytes: number): void
  /**
   * Keeps room for what was announced, beside what others were promised here; whoever has it sets the amount to what
   * is still to come as bytes arrive, and disposes of it. What nobody announced can still use it up.
   * @throws NoRoom
   */
  promise(bytes: number): Promised
  /** Bytes that are free, and those that images leave free. */
  look(): { readonly free: number; readonly kept: number }
}

/** Sizes in units of `bsize` bytes. */
interface FileSystem {
  readonly bsize: number
  readonly blocks: number
  readonly bavail: number
}

export interface ReserveOptions {
  /** A folder that exists, on the file system that is watched. */
  readonly directory: string
  /** Bytes to leave free; undefined for a hundredth of the file system, from 4 to 256 MiB. */
  readonly bytes: number | undefined
  /** For tests. */
  readonly statfs?: (path: string) => FileSystem
}

const readFileSystem = (path: string): FileSystem => statfsSync(path)

/** Watches the free space of the file system that `directory` lies on. */
export function createReserve({ directory, bytes, statfs = readFileSystem }: ReserveOptions): Reserve {
  const ledger = new Ledger()
  function look() {
    const { bsize, blocks, bavail } = statfs(directory)
    const kept = bytes ?? Math.min(MOST, Math.max(LEAST, Math.floor((blocks * bsize) / SHARE)))
    return { free: bavail * bsize, kept }
  }
  function check(wanted: number, promised: number): void {
    const { free, kept } = look()
    if (free - promised - wanted < kept) throw new NoRoom({ wanted, free, promised, kept })
  }
  return {
    look,
    demand: (wanted) => check(wanted, 0),
    promise(wanted) {
      check(wanted, ledger.sum(directory))
      return ledger.take([directory], wanted)
    },
  }
}
