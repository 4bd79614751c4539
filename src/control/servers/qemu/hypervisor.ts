import { realpath } from 'node:fs/promises'
import { LibraryError } from '#base/errors.ts'
import type { JobLog } from '#control/jobs/queue.ts'
import { type AcceleratorSetting, createAccelerator } from './accelerator.ts'
import { launchMachine } from './launch.ts'
import type { Hypervisor } from './machine.ts'
import { endProcess, findQemus } from './process.ts'
import { attachMachine } from './running-machine.ts'

/** One that runs answers in milliseconds; one on a machine that is busy with everything else, in seconds. */
const ATTACH_MS = 10_000

/**
 * Runs servers with QEMU's system emulator, each in a process that outlives this one.
 * @param folder where the servers' folders are, and what was found out of this machine is kept
 */
export function createHypervisor(options: {
  readonly folder: string
  readonly accelerator: AcceleratorSetting
  readonly log: JobLog
}): Hypervisor {
  return {
    accelerator: createAccelerator(options),
    start: launchMachine,
    async find(folder) {
      const path = await realpath(folder).catch(() => undefined)
      if (path === undefined) return undefined
      const [first, ...others] = await findQemus((other) => other === path)
      // Two write to the same disk only where locks failed; whichever is right, both cannot go on.
      for (const { name } of others) await endProcess(name)
      if (!first) return undefined
      try {
        const signal = AbortSignal.timeout(ATTACH_MS)
        return await attachMachine({ folder: path, process: first.name, limitMs: ATTACH_MS, signal })
      } catch (error) {
        if (!(error instanceof LibraryError || (error as Error).name === 'TimeoutError')) throw error
        options.log.warn({ folder, pid: first.name.pid, error }, 'QEMU does not answer and is ended')
        await endProcess(first.name)
        return undefined
      }
    },
    async endOthers(parent, kept) {
      const [path, ...keptPaths] = await Promise.all(
        [parent, ...kept].map((folder) => realpath(folder).catch(() => folder)),
      )
      const others = await findQemus((folder) => folder.startsWith(`${path}/`) && !keptPaths.includes(folder))
      for (const { name } of others) await endProcess(name)
      return others.length
    },
  }
}
