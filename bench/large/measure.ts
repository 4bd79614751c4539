import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { quantile } from '../object-client.ts'

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Of the kernel's clock for processes, a second. */
const TICKS = Number(execFileSync('getconf', ['CLK_TCK']))

/** Seconds of processor of a process and all that it started, those that have ended among them. */
export function cpuSeconds(root: number): number {
  let ticks = 0
  const parents = new Map<number, number>()
  const used = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    // The name of a program may have blanks and brackets in it.
    const fields = read(`/proc/${name}/stat`).split(') ').at(-1)?.split(' ')
    if (!/^\d+$/.test(name) || !fields) continue
    parents.set(Number(name), Number(fields[1]))
    const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15).map(Number)
    used.set(Number(name), user + system + endedUser + endedSystem)
  }
  const isOf = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || isOf(parents.get(pid)))
  for (const [pid, own] of used) if (isOf(pid)) ticks += own
  return ticks / TICKS
}

/** Seconds of processor that the whole machine has been busy for. */
function busySeconds(): number {
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, soft = 0] =
    read('/proc/stat').split('\n', 1)[0]?.split(/\s+/).slice(1).map(Number) ?? []
  return (user + nice + system + interrupts + soft) / TICKS
}

/** Of the PostgreSQL whose folder this is. */
export const databasePid = (folder: string): number =>
  Number(read(join(folder, 'data', 'postmaster.pid')).split('\n')[0])

/** Of all that runs in the folder of an object store. */
export function objectStorePids(folder: string): number[] {
  const files = readdirSync(join(folder, 'out')).filter((name) => name.endsWith('.pid'))
  return files.map((name) => Number(read(join(folder, 'out', name))))
}

/**
 * Looks from now on who uses the processor.
 * @param pids of each part that is told of; what they started counts with them
 * @returns says it in words, once all of them have done what was to be looked at and still run
 */
export function watchProcessor(pids: Readonly<Record<string, readonly number[]>>): () => string {
  const look = () =>
    Object.entries(pids).map(([name, own]) => ({
      name,
      used: own.reduce((sum, pid) => sum + cpuSeconds(pid), 0),
    }))
  const [before, busyBefore] = [look(), busySeconds()]
  return () => {
    const used = look().map(({ name, used }, at) => ({ name, seconds: used - (before[at]?.used ?? 0) }))
    const others = busySeconds() - busyBefore - used.reduce((sum, { seconds }) => sum + seconds, 0)
    const all = [...used, { name: 'all else on the machine', seconds: others }]
    return `${all.map(({ name, seconds }) => `${name} ${seconds.toFixed(1)} s`).join(', ')} of processor`
  }
}

/** What is demanded of one figure. */
export interface Bar {
  readonly what: string
  readonly value: number
  readonly unit: string
  readonly least?: number
  readonly most?: number
}

/** Prints one line: the figure, what is demanded of it, and whether that is so. */
export function printBar({ what, value, unit, least, most }: Bar): void {
  const isMet = value >= (least ?? Number.NEGATIVE_INFINITY) && value <= (most ?? Number.POSITIVE_INFINITY)
  const rule = least === undefined ? `at most ${most}` : `at least ${least}`
  console.log(`bar ${what}: ${value.toFixed(2)}${unit} (${rule}${unit}) ${isMet ? 'met' : 'missed'}`)
}

/** @returns milliseconds of each call, after some that are not counted */
export async function timeEach(times: number, work: (count: number) => Promise<unknown>): Promise<number[]> {
  for (let count = 0; count < Math.min(20, times); count++) await work(count)
  const durations: number[] = []
  for (let count = 0; count < times; count++) {
    const began = performance.now()
    await work(count)
    durations.push(performance.now() - began)
  }
  return durations
}

export const spread = (ms: readonly number[]): string =>
  `${quantile(ms, 0.5).toFixed(2)} | ${quantile(ms, 0.99).toFixed(2)} | ${quantile(ms, 1).toFixed(2)}`
