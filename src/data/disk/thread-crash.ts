import { MachineFault } from '#base/machine-fault.ts'
import { tooMuchMemory } from '#data/native/start-decoder.ts'

/**
 * What a thread's end by an error means for its registration: too much memory is the image's fault, a program that
 * could not be read just then is worth another try, and all else is ours.
 */
export function crashOf(error: unknown): unknown {
  const code = (error as { code?: unknown } | null | undefined)?.code
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return tooMuchMemory(error)
  // A call to the system failed, for Node reads programs with plain calls; of package.json it says so in its own way.
  const isPassing = code === 'ERR_INVALID_PACKAGE_CONFIG' || (error instanceof Error && 'syscall' in error)
  if (!isPassing) return error
  return new MachineFault('start a thread: its program cannot be read', {
    cause: error,
    hint: 'Raise the limit on open files (LimitNOFILE of systemd, ulimit -n); look at the disk of the program.',
  })
}
