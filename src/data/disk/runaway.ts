import type { Worker } from 'node:worker_threads'

/** Processor time, in ms, that a thread may take between two signs of progress: legal images need a fraction. */
export const RUNAWAY_MS = 300_000
/** Looks at a thread in that time. */
const LOOKS = 24

export interface RunawayWatch extends Disposable {
  /** It got somewhere: its time begins anew. */
  progressed(): void
}

/**
 * Watches for a thread that computes and gets nowhere. Only processor time counts: a thread that waits for a network, a
 * disk or its turn is nobody's runaway, however long that takes.
 * @param limitMs milliseconds of processor time
 * @param onRunaway told once
 */
export function watchRunaway(
  worker: Pick<Worker, 'cpuUsage'>,
  { limitMs, onRunaway }: { readonly limitMs: number; readonly onRunaway: (error: Error) => void },
): RunawayWatch {
  let progressed = true
  let usedBefore = 0
  let looking = false
  let ended = false

  const look = async () => {
    // A thread inside a system call answers when that is over.
    if (looking || ended) return
    looking = true
    try {
      const { user, system } = await worker.cpuUsage()
      const used = (user + system) / 1000
      if (progressed) usedBefore = used
      progressed = false
      if (ended || used - usedBefore < limitMs) return
      end()
      onRunaway(
        new Error(`a thread took ${Math.round(used - usedBefore)} ms of processor time and got nowhere`),
      )
    } catch {
      // It has ended; whoever started it hears that.
    } finally {
      looking = false
    }
  }
  const timer = setInterval(() => void look(), limitMs / LOOKS).unref()
  const end = () => {
    ended = true
    clearInterval(timer)
  }
  return {
    progressed() {
      progressed = true
    },
    [Symbol.dispose]: end,
  }
}
