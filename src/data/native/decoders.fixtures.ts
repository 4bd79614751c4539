import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

export interface ProcessFacts {
  readonly pid: number
  readonly status: ReadonlyMap<string, string>
}

/** The processes that a process started and that are not yet waited for, zombies too. */
export function childrenOf(parent: number): ProcessFacts[] {
  const found: ProcessFacts[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const lines = readFileSync(`/proc/${name}/status`, 'utf8').split('\n')
      const status = new Map(lines.map((line) => line.split(':\t') as [string, string]))
      if (status.get('PPid') === String(parent)) found.push({ pid: Number(name), status })
    } catch {
      // It has ended meanwhile.
    }
  }
  return found
}

/** ms; what is waited for takes less than a second where nothing else runs. */
const UNTIL = 60_000

/** Waits for something that comes about elsewhere. @throws where it does not */
export async function until<T>(look: () => T | undefined | false): Promise<T> {
  for (const start = performance.now(); performance.now() - start < UNTIL; await delay(5)) {
    const seen = look()
    if (seen) return seen
  }
  throw new Error('what was waited for did not come about')
}
