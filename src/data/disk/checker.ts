import { LibraryError } from '#base/errors.ts'
import { startThread } from '#base/start-thread.ts'
import { fromPlainError, type PlainError } from '#base/thread-errors.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import type { StorePlace } from '#data/store/open-store.ts'
import type { CheckedFile, CheckPlace, DamagedFile } from './check-round.ts'

/** What a thread is asked to do, once. */
export type CheckTask =
  | { readonly kind: 'round'; readonly after: CheckPlace; readonly until: number; readonly fastest: number }
  | { readonly kind: 'verify'; readonly files: readonly CheckedFile[] }

export type CheckThreadMessage = CheckThreadNews & { readonly times?: StoreTimes }

export type CheckThreadNews =
  | ({ readonly kind: 'begun' } & RoundPlan)
  | { readonly kind: 'damaged'; readonly file: DamagedFile }
  | ({ readonly kind: 'place'; readonly place: CheckPlace } & ReadSoFar)
  | { readonly kind: 'sound'; readonly file: CheckedFile }
  | { readonly kind: 'end' }
  | { readonly kind: 'error'; readonly error: PlainError }

/** Since the round was begun or gone on with. */
export interface ReadSoFar {
  readonly bytes: number
  readonly manifests: number
  readonly blocks: number
}

export interface RoundPlan {
  /** At rest, still to be read. */
  readonly bytes: number
  /** Bytes per second. */
  readonly rate: number
  /** The rate is the highest that is allowed, and will not do. */
  readonly late: boolean
}

export interface RoundRequest {
  /** Where the last one ended; see ROUND_START. */
  readonly after: CheckPlace
  /** When all is to be read, milliseconds since 1970. */
  readonly until: number
  /** Bytes per second, never exceeded on average. */
  readonly fastest: number
  readonly onBegun: (plan: RoundPlan) => void
  readonly onDamaged: (file: DamagedFile) => void
  /** About once a second, and at the end. */
  readonly onPlace: (place: CheckPlace, read: ReadSoFar) => void
  readonly signal: AbortSignal
}

/** Reads stored files in a thread of its own, away from who answers requests. */
export interface Checker {
  /** Reads everything from a place on. @throws unavailable, or the signal's reason */
  round(request: RoundRequest): Promise<void>
  /** @returns those of the files that are there and what their names say */
  soundOf(files: readonly CheckedFile[], signal: AbortSignal): Promise<CheckedFile[]>
}

/** Enough for the names of one folder of a store, and a block or two. */
const HEAP_MIB = 128

export interface CheckerDeps {
  readonly storePlace: StorePlace
  /** Told what the store was asked for, some of it at a time. */
  readonly onStoreTimes?: ((times: StoreTimes) => void) | undefined
}

export function createChecker({ storePlace, onStoreTimes }: CheckerDeps): Checker {
  const run = (task: CheckTask, signal: AbortSignal, hear: (message: CheckThreadMessage) => void) => {
    signal.throwIfAborted()
    const program = new URL('./check-thread.ts', import.meta.url)
    const worker = startThread(program, { workerData: { storePlace }, heapMib: HEAP_MIB })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    worker.on('message', (message: CheckThreadMessage) => {
      if (message.times) onStoreTimes?.(message.times)
      if (message.kind === 'end') resolve()
      else if (message.kind === 'error') reject(fromPlainError(message.error))
      else hear(message)
    })
    worker.on('error', reject)
    worker.on('exit', (code) =>
      reject(new LibraryError('unavailable', `the check's thread ended with code ${code}`)),
    )
    worker.postMessage(task)
    return promise.finally(async () => {
      signal.removeEventListener('abort', stop)
      await worker.terminate()
    })
  }

  return {
    round: ({ after, until, fastest, onBegun, onDamaged, onPlace, signal }) =>
      run({ kind: 'round', after, until, fastest }, signal, (message) => {
        if (message.kind === 'begun') onBegun(message)
        if (message.kind === 'damaged') onDamaged(message.file)
        if (message.kind === 'place') onPlace(message.place, message)
      }),
    async soundOf(files, signal) {
      const sound: CheckedFile[] = []
      await run({ kind: 'verify', files }, signal, (message) => {
        if (message.kind === 'sound') sound.push(message.file)
      })
      return sound
    },
  }
}
