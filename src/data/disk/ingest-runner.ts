import { randomUUID } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'
import { MachineFault } from '#base/machine-fault.ts'
import { Refusal } from '#base/refusal.ts'
import { startThread } from '#base/start-thread.ts'
import { fromPlainError, type PlainError } from '#base/thread-errors.ts'
import { createDecoderHost, type DecoderHost } from '#data/native/decoder-host.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import { clearUnfinished, type StorePlace } from '#data/store/open-store.ts'
import type { Ingest, IngestProgress, IngestRequest, IngestResult } from './ingest-types.ts'
import { RUNAWAY_MS, watchRunaway } from './runaway.ts'
import { crashOf } from './thread-crash.ts'

/** What an ingest thread is started with. */
export interface IngestThreadData {
  readonly request: IngestRequest
  readonly storePlace: StorePlace
  /** Whose temporary files the store's are. */
  readonly writer: string
  readonly spoolDirectory: string
  readonly reserve: number | undefined
  readonly threads: number
  /** Where decoder processes are to be had. */
  readonly decoders: string
}

/** `admit`: what was announced may come. */
export type ToIngestThread = 'admit' | 'stop'

/** With what its store, and those of its block workers, were asked for since the message before. */
export type IngestThreadMessage = IngestThreadNews & { readonly times?: StoreTimes }

export type IngestThreadNews =
  | { readonly kind: 'announced'; readonly bytes: number | undefined }
  | { readonly kind: 'progress'; readonly progress: IngestProgress }
  | { readonly kind: 'result'; readonly result: IngestResult }
  | { readonly kind: 'error'; readonly error: PlainError }

/** How long a thread that was told to stop may take to close its connections and files. */
const STOP_MS = 3_000
/** Heap of one ingest thread, MiB: tables of the largest legal image need a tenth of it. */
const HEAP_MIB = 256

interface IngestRunnerDeps {
  readonly storePlace: StorePlace
  /** Where downloads that need random access are kept while they are read. */
  readonly spoolDirectory: string
  /** Bytes of the file system that stay free; undefined for a part of it. */
  readonly reserve?: number | undefined
  /** Block workers of a registration that runs alone. */
  readonly threads: number
  /** Told when a thread crashed, or ended by itself. */
  readonly onDeath?: (() => void) | undefined
  /** For tests: what the thread runs, and milliseconds of processor time after which it is a runaway. */
  readonly program?: URL
  readonly runawayMs?: number
}

/**
 * Runs each registration in a thread of its own, away from the catalog and its credentials, so that the API stays
 * responsive and whatever a stranger's image does there can be ended with the thread. A thread that crashes, ends by
 * itself, takes too much memory or gets nowhere costs its own registration; what it was writing goes with it.
 */
export function createIngest(deps: IngestRunnerDeps): Ingest {
  const { storePlace, spoolDirectory, reserve, runawayMs = RUNAWAY_MS } = deps
  const { program = new URL('./ingest-thread.ts', import.meta.url) } = deps
  let running = 0
  return (request, { onProgress, onStoreTimes, admit, signal: wanted }) => {
    wanted.throwIfAborted()
    const refused = new AbortController()
    const signal = AbortSignal.any([wanted, refused.signal])
    // The first one has all block workers; those that come beside it make do with one, and memory stays flat.
    const threads = running === 0 ? deps.threads : 1
    const writer = randomUUID()
    const host = createDecoderHost(spoolDirectory)
    const workerData: IngestThreadData = {
      request,
      storePlace,
      writer,
      spoolDirectory,
      reserve,
      threads,
      decoders: host.address,
    }
    const worker = startWith(host, () => startThread(program, { workerData, heapMib: HEAP_MIB }))
    running++
    return new Promise<IngestResult>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const tell = (message: ToIngestThread) => worker.postMessage(message)
      const stop = () => {
        tell('stop')
        timer = setTimeout(() => fail(signal.reason), STOP_MS)
      }
      const decide = async (bytes: number | undefined) => {
        try {
          await admit?.(bytes)
          tell('admit')
        } catch (reason) {
          refused.abort(reason)
        }
      }
      const settle = (outcome: (decoderFault?: Error) => void) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', stop)
        worker.removeAllListeners()
        worker.on('error', () => {})
        watch[Symbol.dispose]()
        running--
        const clear = async () => {
          await worker.terminate()
          const decoderFault = await host.close()
          // Its block workers may have been ended in the middle of a put.
          await clearUnfinished(storePlace, writer)
          return decoderFault
        }
        clear().then(outcome, () => outcome())
      }
      // A thread knows of its decoders only that they are gone.
      const fail = (error: unknown) =>
        settle((decoderFault) => reject(isReason(error) ? error : (decoderFault ?? error)))
      const isReason = (error: unknown) =>
        signal.aborted || (error instanceof LibraryError && !(error instanceof MachineFault))
      const watch = watchRunaway(worker, { limitMs: runawayMs, onRunaway: fail })
      let before: IngestProgress | undefined
      const progressed = (now: IngestProgress) => {
        if (!before || hasMoved(before, now)) watch.progressed()
        before = now
        onProgress(now)
      }
      signal.addEventListener('abort', stop, { once: true })
      worker.on('message', (message: IngestThreadMessage) => {
        if (message.times) onStoreTimes?.(message.times)
        if (message.kind === 'progress') progressed(message.progress)
        else if (message.kind === 'announced') void decide(message.bytes)
        else if (message.kind === 'result') settle(() => resolve(message.result))
        else fail(signal.aborted ? signal.reason : fromPlainError(message.error))
      })
      const die = (reason: unknown) => {
        // One that needs more memory than it may have is its image's fault.
        if (!(reason instanceof Refusal)) deps.onDeath?.()
        fail(reason)
      }
      worker.on('error', (error) => die(crashOf(error)))
      // Nothing of ours ends it so: the same bytes would do that again.
      worker.on('exit', (code) => die(new Error(`the registration's thread ended with code ${code}`)))
    })
  }
}

function startWith<T>(host: DecoderHost, start: () => T): T {
  try {
    return start()
  } catch (error) {
    void host.close()
    throw error
  }
}

function hasMoved(before: IngestProgress, now: IngestProgress): boolean {
  return (
    before.phase !== now.phase ||
    before.received !== now.received ||
    before.decoded !== now.decoded ||
    before.virtualSize !== now.virtualSize
  )
}
