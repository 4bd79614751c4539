import { readFileSync, readlinkSync } from 'node:fs'
import { readdir, readFile, readlink, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** A process, told from a later one of the same number by when it began, in ticks since the machine started. */
export interface ProcessName {
  readonly pid: number
  readonly startedAt: string
}

const POLL_MS = 20

/** The process of this number as it is now; undefined where none runs. */
export async function nameProcess(pid: number): Promise<ProcessName | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  // The second field is the program's name, which may have spaces and brackets in it.
  const [state, ...rest] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  const threads = rest[16]
  const startedAt = rest[18]
  if (startedAt === undefined) return undefined
  // What is dead but for its parent's noticing runs no more, once its last thread is gone.
  if ((state === 'Z' || state === 'X') && Number(threads) <= 1) return undefined
  return { pid, startedAt }
}

export async function isRunning(name: ProcessName): Promise<boolean> {
  return (await nameProcess(name.pid))?.startedAt === name.startedAt
}

/** Resolves once a process is gone, whoever its parent is; false where it is not in time. */
export async function waitGone(name: ProcessName, limitMs: number): Promise<boolean> {
  const until = performance.now() + limitMs
  while (await isRunning(name)) {
    if (performance.now() >= until) return false
    await delay(POLL_MS)
  }
  return true
}

/** Ends a process by force and waits until nothing of it runs any more. */
export async function endProcess(name: ProcessName): Promise<void> {
  if (await isRunning(name)) {
    try {
      process.kill(name.pid, 'SIGKILL')
    } catch (error) {
      // It may have ended by itself since.
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }
  await waitGone(name, Number.POSITIVE_INFINITY)
}

/**
 * The QEMUs that run in folders for which `matches` holds, each with its folder. What the kernel says of processes
 * cannot be forged by a guest that broke out, and is there however a daemon ended.
 * @param matches told absolute paths without symbolic links
 */
export async function findQemus(
  matches: (folder: string) => boolean,
): Promise<{ readonly name: ProcessName; readonly folder: string }[]> {
  const found: { name: ProcessName; folder: string }[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const folder = folderOf(entry)
    if (folder === undefined || !matches(folder)) continue
    const program = await readlink(`/proc/${entry}/exe`).catch(() => '')
    const name = await nameProcess(Number(entry))
    // Between its fork and QEMU it is the program that sets its limits.
    if (name && /^(qemu-system-|prlimit)/.test(basename(program))) found.push({ name, folder })
  }
  return found
}

/** As below: waits for no disk, and is asked of all processes before each start; threads take ten times as long. */
function folderOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return undefined
  }
}

/** Those that have just been ended may have begun others; more is not possible within QEMU's limits for long. */
const STRAY_ROUNDS = 50

/**
 * Ends whatever runs as a server's user although no QEMU of it should: what a guest left behind that broke out, and
 * that would otherwise be there when another server gets this user. What runs in another server's folder, of a library
 * that has the same users, is spared: nobody gets into one.
 */
export async function endStrays(uid: number, folder: string): Promise<void> {
  for (let round = 0; round < STRAY_ROUNDS; round++) {
    const strays: ProcessName[] = []
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry) || !runsAs(entry, uid) || (await isElsewhere(entry, folder))) continue
      const name = await nameProcess(Number(entry))
      if (name) strays.push(name)
    }
    if (strays.length === 0) return
    for (const name of strays) await endProcess(name)
  }
}

function runsAs(pid: string, uid: number): boolean {
  try {
    return /^Uid:\t(\d+)\t/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] === `${uid}`
  } catch {
    return false
  }
}

/** Whether a process is where nobody could have gone by himself: below a folder that is ours, and closed. */
async function isElsewhere(pid: string, own: string): Promise<boolean> {
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '/')
  if (folder === own || folder.startsWith(`${own}/`) || folder.endsWith(' (deleted)')) return false
  const parent = await stat(dirname(folder)).catch(() => undefined)
  return parent?.uid === process.getuid?.() && ((parent?.mode ?? 0) & 0o077) === 0
}
