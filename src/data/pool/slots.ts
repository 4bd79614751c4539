import { LibraryError } from '#base/errors.ts'

interface Waiting {
  readonly resolve: (address: number) => void
  readonly reject: (reason: unknown) => void
}

/**
 * Lends places in memory, the one that came back last first: what was never needed at once is never touched, and the
 * system gives no memory for it. Whoever comes when all are lent waits, in order.
 */
export class Slots {
  readonly #free: number[]
  readonly #waiting = new Set<Waiting>()
  #closed = false

  constructor(addresses: readonly number[]) {
    this.#free = [...addresses].reverse()
  }

  /** @throws the signal's reason; unavailable once closed */
  acquire(signal: AbortSignal): Promise<number> {
    if (this.#closed) return Promise.reject(closedError())
    if (signal.aborted) return Promise.reject(signal.reason)
    const address = this.#free.pop()
    if (address !== undefined) return Promise.resolve(address)
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(waiting)
        signal.removeEventListener('abort', onAbort)
      }
      const waiting: Waiting = {
        resolve: (given) => {
          leave()
          resolve(given)
        },
        reject: (reason) => {
          leave()
          reject(reason)
        },
      }
      const onAbort = () => waiting.reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(waiting)
    })
  }

  release(address: number): void {
    const [next] = this.#waiting
    if (next) next.resolve(address)
    else this.#free.push(address)
  }

  /** One that is free now, if there is any. */
  take(): number | undefined {
    return this.#closed ? undefined : this.#free.pop()
  }

  close(): void {
    this.#closed = true
    for (const waiting of [...this.#waiting]) waiting.reject(closedError())
  }
}

const closedError = () => new LibraryError('unavailable', 'move bytes: the library is stopping')
