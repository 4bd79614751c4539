import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { LibraryError } from '#base/errors.ts'
import { systemCode } from './storage-errors.ts'

const HINT = 'Look at the disk of the data folder and at the kernel log; then try again.'

/**
 * Has the kernel write a whole file system to stable storage (syncfs(2), by coreutils `sync -f`): one call for any
 * number of files, their names and folders.
 * @param command the program, `sync`
 * @returns false where there is no such program
 * @throws unavailable where the kernel reports that something was not written
 */
export async function syncFileSystem(directory: string, command: string): Promise<boolean> {
  const child = spawn(command, ['-f', directory], { stdio: 'ignore' })
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    if (code === 0) return true
    throw new LibraryError('unavailable', `sync the store: "sync -f" ended with ${code}`, { hint: HINT })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * Runs `work` for any number of callers at once: one run goes on and at most one waits for its end, which all share
 * that asked since the first one began.
 */
export function coalesced(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let waiting: Promise<void> | undefined
  const start = (): Promise<void> => {
    const run = work().finally(() => {
      if (running === run) running = undefined
    })
    running = run
    return run
  }
  const startNext = () => {
    waiting = undefined
    return start()
  }
  return () => {
    if (!running) return start()
    waiting ??= running.then(startNext, startNext)
    return waiting
  }
}
