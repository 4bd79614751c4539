import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { MachineFault } from './machine-fault.ts'

/** MiB of a thread's heap for young objects: what chunks and zlib leave behind is picked up soon, not after 50 MiB. */
const YOUNG_MIB = 6

export interface ThreadOptions {
  readonly workerData: unknown
  /** MiB of heap for all else; undefined for as much as Node sees fit. */
  readonly heapMib?: number
  /** For tests. */
  readonly create?: (program: URL, options: WorkerOptions) => Worker
}

const createWorker = (program: URL, options: WorkerOptions) => new Worker(program, options)

/**
 * Starts a thread that has to do with strangers' bytes. It sees nothing of the environment, where secrets may stand.
 * @throws unavailable where the system starts no more threads
 */
export function startThread(
  program: URL,
  { workerData, heapMib, create = createWorker }: ThreadOptions,
): Worker {
  const heap = heapMib === undefined ? {} : { maxOldGenerationSizeMb: heapMib }
  try {
    return create(program, {
      workerData,
      env: environment(),
      resourceLimits: { ...heap, maxYoungGenerationSizeMb: YOUNG_MIB },
    })
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_WORKER_INIT_FAILED') throw cause
    throw new MachineFault('start a thread: the system starts no more', {
      cause,
      hint: 'Raise the limit on threads (TasksMax of systemd, pids of the container, ulimit -u).',
    })
  }
}

/** Where compiled programs are kept, without which a thread starts four times as slowly. */
function environment(): NodeJS.Dict<string> {
  const folder = getCompileCacheDir()
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) }
}
