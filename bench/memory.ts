import { readdirSync, readFileSync } from 'node:fs'

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** A process and all that it started, their resident sizes together, MiB. */
export function residentMiB(root: number): number {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const parent = /\nPPid:\s+(\d+)/.exec(read(`/proc/${name}/status`))?.[1]
    if (parent) parents.set(Number(name), Number(parent))
  }
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || isOurs(parents.get(pid)))
  let kibs = 0
  for (const pid of parents.keys()) {
    if (isOurs(pid)) kibs += Number(/\nVmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
  }
  return Math.round(kibs / 1024)
}

/** Watches while something runs. @returns the most it was, MiB */
export async function peakDuring(root: number, work: Promise<unknown>): Promise<number> {
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMiB(root))
  }, 100)
  try {
    await work
  } finally {
    clearInterval(timer)
  }
  return peak
}
