import type { Worker } from 'node:worker_threads'
import { LibraryError } from '#base/errors.ts'
import { startThread } from '#base/start-thread.ts'
import { fromPlainError } from '#base/thread-errors.ts'
import type { StoreTimes } from '#data/store/measured.ts'
import type { PoolAnswer, PoolResult, PoolTask, PoolWorkerData } from './pool-task.ts'

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never
export type NewTask = WithoutId<PoolTask>

interface Pending {
  readonly resolve: (answer: PoolAnswer) => void
  readonly reject: (reason: unknown) => void
}

/** Who counts what becomes of a pool. */
export interface PoolObserver {
  /** Told what its threads asked the store for, some of it at a time. */
  readonly onStoreTimes?: ((times: StoreTimes) => void) | undefined
  /** Told when a thread died that was not to. */
  readonly onDeath?: (() => void) | undefined
}

/** A worker thread, started when it is first needed and again after it died. It keeps the order of tasks. */
export class Lane implements AsyncDisposable {
  readonly #workerData: PoolWorkerData
  readonly #observer: PoolObserver
  readonly #pending = new Map<number, Pending>()
  #worker: Worker | undefined
  #nextId = 1
  /** Workers that died. */
  #deaths = 0
  #closed = false

  constructor(workerData: PoolWorkerData, observer: PoolObserver = {}) {
    this.#workerData = workerData
    this.#observer = observer
  }

  /** Tasks that are not done. */
  get busy(): number {
    return this.#pending.size
  }

  /** Another number after a worker died, with all it knew. */
  get life(): number {
    return this.#deaths
  }

  get isRunning(): boolean {
    return this.#worker !== undefined
  }

  /** @throws what the task came to; unavailable where its worker dies, or cannot be started */
  run(task: NewTask): Promise<PoolAnswer> {
    if (this.#closed)
      return Promise.reject(new LibraryError('unavailable', 'move a block: the library is stopping'))
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const worker = this.#running()
      this.#pending.set(id, { resolve, reject })
      worker.postMessage({ ...task, id })
    })
  }

  /** For tasks that nothing comes back from; they do not start a worker. */
  tell(task: NewTask): void {
    this.#worker?.postMessage({ ...task, id: 0 })
  }

  #running(): Worker {
    if (this.#worker) return this.#worker
    const program = new URL('./pool-worker.ts', import.meta.url)
    const worker = startThread(program, { workerData: this.#workerData })
    let cause: unknown
    worker.on('message', (result: PoolResult) => this.#settle(result))
    worker.on('error', (error) => {
      cause = error
    })
    // Only now is it sure that nothing of the shared memory is used any more.
    worker.on('exit', (code) => {
      this.#worker = undefined
      this.#deaths++
      if (!this.#closed) this.#observer.onDeath?.()
      const error = new LibraryError('unavailable', `move a block: its thread ended with code ${code}`, {
        cause,
      })
      for (const pending of this.#pending.values()) pending.reject(error)
      this.#pending.clear()
    })
    this.#worker = worker
    return worker
  }

  #settle(result: PoolResult): void {
    if (result.times) this.#observer.onStoreTimes?.(result.times)
    const pending = this.#pending.get(result.id)
    if (!pending) return
    this.#pending.delete(result.id)
    if ('error' in result) pending.reject(fromPlainError(result.error))
    else pending.resolve(result.answer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await this.#worker?.terminate()
  }
}
