import { readdir, readFile, readlink } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface MachineProcess {
  readonly pid: number
  /** The folder of its server. */
  readonly folder: string
  readonly words: readonly string[]
}

/** The QEMUs that run in folders below this data folder, whoever started them. */
export async function machinesOf(data: string): Promise<MachineProcess[]> {
  const found: MachineProcess[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const folder = await readlink(join('/proc', name, 'cwd')).catch(() => '')
    if (!folder.startsWith(join(data, 'servers') + sep)) continue
    const line = await readFile(join('/proc', name, 'cmdline'), 'utf8').catch(() => '')
    // A zombie has none.
    if (line) found.push({ pid: Number(name), folder, words: line.split('\0') })
  }
  return found
}

/** Ends them all, by force, and waits until they are gone. */
export async function endMachines(data: string): Promise<void> {
  for (;;) {
    const machines = await machinesOf(data)
    if (machines.length === 0) return
    for (const { pid } of machines) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    }
    await delay(20)
  }
}
