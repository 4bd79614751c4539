import { Worker } from 'node:worker_threads'
import { LibraryError } from '#base/errors.ts'
import { Refusal } from '#base/refusal.ts'
import { fromPlainError, type PlainError } from '#base/thread-errors.ts'
import { YOUNG_MIB } from '#base/thread-heap.ts'
import type { Ingest, IngestProgress, IngestRequest, IngestResult } from './ingest-types.ts'

/** What an ingest thread is started with. */
export interface IngestThreadData {
  readonly request: IngestRequest
  readonly storeDirectory: string
  readonly spoolDirectory: string
  readonly reserve: number | undefined
  readonly threads: number
}

/** `admit`: what was announced may come. */
export type ToIngestThread = 'admit' | 'stop'

export type IngestThreadMessage =
  | { readonly kind: 'announced'; readonly bytes: number | undefined }
  | { readonly kind: 'progress'; readonly progress: IngestProgress }
  | { readonly kind: 'result'; readonly result: IngestResult }
  | { readonly kind: 'error'; readonly error: PlainError }

/** How long a thread that was told to stop may take to close its connections and files. */
const STOP_MS = 3_000
/** Heap of one ingest thread, MiB: tables of the largest legal image need a tenth of it. */
const HEAP_MIB = 256

interface IngestRunnerDeps {
  readonly storeDirectory: string
  /** Where downloads that need random access are kept while they are read. */
  readonly spoolDirectory: string
  /** Bytes of the file system that stay free; undefined for a part of it. */
  readonly reserve?: number | undefined
  /** Block workers of a registration that runs alone. */
  readonly threads: number
}

/**
 * Runs each registration in a thread of its own, away from the catalog and its credentials, so that the API stays
 * responsive and whatever a stranger's image does there can be ended with the thread.
 */
export function createIngest(deps: IngestRunnerDeps): Ingest {
  const { storeDirectory, spoolDirectory, reserve } = deps
  let running = 0
  return (request, { onProgress, admit, signal }) => {
    signal.throwIfAborted()
    // The first one has all block workers; those that come beside it make do with one, and memory stays flat.
    const threads = running === 0 ? deps.threads : 1
    const workerData: IngestThreadData = { request, storeDirectory, spoolDirectory, reserve, threads }
    const worker = new Worker(new URL('./ingest-thread.ts', import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: YOUNG_MIB },
    })
    running++
    return new Promise<IngestResult>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const tell = (message: ToIngestThread) => worker.postMessage(message)
      let refused: { readonly reason: unknown } | undefined
      const reasonOr = (error: () => unknown) =>
        signal.aborted ? signal.reason : refused ? refused.reason : error()
      const stop = () => {
        tell('stop')
        timer ??= setTimeout(() => settle(() => reject(reasonOr(stopped))), STOP_MS)
      }
      const decide = async (bytes: number | undefined) => {
        try {
          await admit?.(bytes)
          tell('admit')
        } catch (reason) {
          refused = { reason }
          stop()
        }
      }
      const settle = (outcome: () => void) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', stop)
        worker.removeAllListeners()
        worker.on('error', () => {})
        running--
        worker.terminate().then(outcome, outcome)
      }
      signal.addEventListener('abort', stop, { once: true })
      worker.on('message', (message: IngestThreadMessage) => {
        if (message.kind === 'progress') onProgress(message.progress)
        else if (message.kind === 'announced') void decide(message.bytes)
        else if (message.kind === 'result') settle(() => resolve(message.result))
        else settle(() => reject(reasonOr(() => fromPlainError(message.error))))
      })
      worker.on('error', (error) => settle(() => reject(translateCrash(error))))
      worker.on('exit', (code) =>
        settle(() =>
          reject(new LibraryError('unavailable', `the registration's thread ended with code ${code}`)),
        ),
      )
    })
  }
}

const stopped = () => new LibraryError('unavailable', 'the registration did not stop in time')

function translateCrash(error: unknown): unknown {
  if ((error as { code?: unknown }).code !== 'ERR_WORKER_OUT_OF_MEMORY') return error
  return new Refusal('memory-limit', 'The image needs more memory to decode than a registration may use.', {
    cause: error,
    hint: 'Convert it to a raw image, compress it with lz4 or xz and register that.',
  })
}
