import { readdir, readFile, readlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const MiB = 1024 * 1024
/** What libraries and compiled code may take once, and what the allocator keeps: a leak by the round is more. */
const MEMORY_GROWTH = 768 * MiB
/** Processes that were told to end get this long. */
const PATIENCE_MS = 10_000

/**
 * Watches for what attacks leave behind. All that they make lies in one folder, and all processes that they start, and
 * those in turn, have it as TMPDIR or are in it: also one that is nobody's child any more.
 * @param folder absolute, and in this process's environment as TMPDIR
 * @returns says what there is, one line each; waits for what is about to go
 */
export function watchLeftovers(
  folder: string,
  { patienceMs = PATIENCE_MS } = {},
): () => Promise<readonly string[]> {
  const before = process.memoryUsage.rss()
  return async () => {
    const start = performance.now()
    for (;;) {
      const processes = (await processesOf(folder)).map(sentenceOf)
      const left = [...processes, ...(await filesOf(folder)), ...grownSince(before)]
      if (left.length === 0 || performance.now() - start > patienceMs) return left
      await sleep(100)
    }
  }
}

const filesOf = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).map((name) => `${folder}/${name}`)

const sentenceOf = ({ id, command }: Found): string => `process ${id} (${command.slice(0, 100)})`

/** Ends every process of the folder, so that nothing of a run that went wrong stays. */
export async function endProcesses(folder: string): Promise<void> {
  for (const { id } of await processesOf(folder)) {
    try {
      process.kill(id, 'SIGKILL')
    } catch {
      // It ended by itself.
    }
  }
}

interface Found {
  readonly id: number
  readonly command: string
}

async function processesOf(folder: string): Promise<Found[]> {
  const found: Found[] = []
  for (const id of await readdir('/proc')) {
    if (!/^\d+$/.test(id) || Number(id) === process.pid || !(await isOf(folder, id))) continue
    const command = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')
    // A process that has ended and that nobody asked after has no command line.
    if (command !== '') found.push({ id: Number(id), command: command.replaceAll('\0', ' ').trim() })
  }
  return found
}

async function isOf(folder: string, id: string): Promise<boolean> {
  try {
    const environment = await readFile(`/proc/${id}/environ`, 'latin1')
    if (environment.split('\0').includes(`TMPDIR=${folder}`)) return true
    return (await readlink(`/proc/${id}/cwd`)).startsWith(`${folder}/`)
  } catch {
    return false // it is gone, or somebody else's
  }
}

function grownSince(before: number): string[] {
  collectGarbage()
  const grown = process.memoryUsage.rss() - before
  return grown > MEMORY_GROWTH ? [`${Math.round(grown / MiB)} MiB of memory`] : []
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') collect()
}
