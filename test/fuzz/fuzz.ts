import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { SharedInput } from './shared-input.ts'
import type { ThreadReport, ThreadTask } from './thread.ts'

const DEADLINE_MS = 5_000
const HEAP_MB = 256

export interface FuzzOptions extends Pick<ThreadTask, 'target' | 'seed' | 'runs' | 'guided' | 'compared'> {
  readonly only?: Uint8Array
  /** How long one input may take, milliseconds; one that took longer gets four times that. */
  readonly deadlineMs?: number
  /** Ends the run. */
  readonly signal?: AbortSignal | undefined
}

export interface Finding {
  readonly target: string
  readonly input: Uint8Array
  readonly message: string
}

export interface FuzzResult {
  readonly cases: number
  readonly finding: Finding | undefined
  /** Inputs that ended in a new way, or reached new code. */
  readonly fresh: readonly Uint8Array[]
  /** The ways in which inputs ended, numbers left out. */
  readonly endings: readonly string[]
}

/**
 * Fuzzes one target on a thread of its own, up to the first finding: an error that is none of ours, a crash, more
 * memory or time than a reader may take, or another program that reads differently.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const deadline = options.deadlineMs ?? DEADLINE_MS
  const result = await runThread(options, deadline)
  if (!result.late || !result.finding) return result
  const again = await runThread({ ...options, only: result.finding.input }, 4 * deadline)
  if (again.finding) return again
  // The machine was busy, that is all: the same once more, with patience.
  return await runThread(options, 4 * deadline)
}

async function runThread(
  { signal, ...options }: FuzzOptions,
  deadline: number,
): Promise<FuzzResult & { readonly late: boolean }> {
  const shared = new SharedInput()
  const stop = () => shared.stop()
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()
  const thread = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: { ...options, memory: shared.memory } satisfies ThreadTask,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  })
  const over = new AbortController()
  const late = watch(shared, deadline, over.signal)
  try {
    const report = await Promise.race([reportOf(thread, shared), late])
    const finding = report.kind === 'found' ? { target: options.target, ...report } : undefined
    const { fresh, endings } = report.kind === 'done' ? report : { fresh: [], endings: [] }
    return {
      cases: shared.cases,
      finding,
      fresh,
      endings,
      late: report.kind === 'found' && report.late === true,
    }
  } finally {
    over.abort()
    signal?.removeEventListener('abort', stop)
    await thread.terminate()
  }
}

type Report = ThreadReport & { readonly late?: boolean }

async function reportOf(thread: Worker, shared: SharedInput): Promise<Report> {
  const gone = once(thread, 'exit').then(() => {
    throw new Error('the thread ended without a word')
  })
  try {
    const [report] = await Promise.race([once(thread, 'message'), gone])
    gone.catch(() => {})
    return report as ThreadReport
  } catch (error) {
    gone.catch(() => {})
    return { kind: 'found', input: shared.input, message: `the thread died: ${String(error)}` }
  }
}

/** Resolves once an input takes too long; never where it is told that all is over. */
async function watch(shared: SharedInput, deadline: number, over: AbortSignal): Promise<Report> {
  let since = performance.now()
  let last = -1
  while (!over.aborted) {
    await wait(100, undefined, { signal: over }).catch(() => {})
    if (shared.cases !== last || !shared.reading) {
      last = shared.cases
      since = performance.now()
    } else if (performance.now() - since > deadline) {
      const message = `not done within ${deadline} ms`
      return { kind: 'found', input: shared.input, message, late: true }
    }
  }
  return new Promise(() => {})
}
