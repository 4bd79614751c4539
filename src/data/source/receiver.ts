import type { Dispatcher } from 'undici'
import { MiB } from '#base/bytes.ts'
import type { ImportLimits } from '#base/limits.ts'
import { downloadFailure, sourceTooLarge, TRY_AGAIN } from './failure.ts'
import type { Pace } from './pace.ts'
import { answerFailure, bodyFailure, notHttp } from './response-failure.ts'
import { type ResponseHead, readHead } from './response-head.ts'
import { waitWithin } from './wait.ts'

export interface Body {
  /** Bytes that have arrived; undefined where `more` has to be awaited. */
  take(): Uint8Array | undefined
  /**
   * Waits for bytes.
   * @returns false at the body's end
   * @throws ConnectionLost, SourceFailure, too-large or the signal's reason, once all that arrived before is taken
   */
  more(): Promise<boolean>
  /** Bytes of this body that have arrived. */
  readonly arrived: number
  /** Drops the connection; nothing happens the second time. */
  close(): void
}

export interface ReceiverOptions {
  readonly limits: ImportLimits
  /** Bytes of the body that are at most wanted; one more fails as too large. */
  readonly bodyLimit: number
  readonly pace: Pace
  readonly signal: AbortSignal
}

/** What waits for the consumer at most, before the connection rests; the number is for chunks of a few bytes. */
const MAX_QUEUED_BYTES = MiB
const MAX_QUEUED_CHUNKS = 256

/** Takes one response from undici: the head, then the body as a queue that the consumer empties. */
export class Receiver implements Body {
  readonly #options: ReceiverOptions
  readonly #connected = Promise.withResolvers<void>()
  readonly #head = Promise.withResolvers<ResponseHead>()
  readonly #closing = new AbortController()
  #controller: Dispatcher.DispatchController | undefined
  #hasHead = false
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #waiter: PromiseWithResolvers<void> | undefined
  #outcome: { readonly error: unknown } | 'complete' | undefined
  #arrived = 0
  /** Bytes that the body has, where its head says so. */
  #length: number | undefined
  #unwatch = () => {}

  constructor(options: ReceiverOptions) {
    this.#options = options
    // Whoever waits for them hears of a failure; if nobody does, it is no unhandled rejection.
    this.#connected.promise.catch(() => {})
    this.#head.promise.catch(() => {})
    options.signal.addEventListener('abort', this.#onAbort)
    if (options.signal.aborted) this.#onAbort()
  }

  readonly handler: Dispatcher.DispatchHandler = {
    onRequestStart: (controller) => {
      this.#controller = controller
      this.#connected.resolve()
    },
    onResponseStart: (_controller, status, headers) => {
      // Other 1xx only announce an answer.
      if (status === 101) this.#fail(notHttp())
      else if (status >= 200) this.#begin(status, headers)
    },
    onResponseData: (_controller, chunk) => this.#receive(chunk),
    onResponseEnd: () => this.#settle('complete'),
    onResponseError: (_controller, cause) => this.lost(cause),
  }

  /** Aborted once nothing more is wanted of the connection. */
  get signal(): AbortSignal {
    return this.#closing.signal
  }

  /** The connection could not be made, or has broken. */
  readonly lost = (cause: Error): void => {
    if (!this.#controller) this.#fail(cause)
    else if (!this.#hasHead) this.#fail(answerFailure(cause))
    else this.#fail(bodyFailure(cause, this.#arrived))
  }

  /** Waits until the request is on its way. @throws what undici says, or the signal's reason */
  connected(): Promise<void> {
    return this.#connected.promise
  }

  /** Waits for the response. @throws SourceFailure, or the signal's reason */
  async head(): Promise<ResponseHead> {
    const { limits, signal } = this.#options
    const tooLate = () =>
      downloadFailure(`the server did not answer within ${limits.headersMs / 1000} seconds`, {
        retryable: true,
        hint: TRY_AGAIN,
      })
    try {
      return await waitWithin(this.#head.promise, limits.headersMs, signal, tooLate)
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  take(): Uint8Array | undefined {
    const chunk = this.#queue.shift()
    if (chunk) this.#queuedBytes -= chunk.length
    // Not at the first gap: each pause makes the socket take back what the parser has not read.
    if (this.#controller?.paused && !this.#isFilled(0.5)) this.#controller.resume()
    return chunk
  }

  async more(): Promise<boolean> {
    while (this.#queue.length === 0) {
      if (this.#outcome === 'complete') return false
      if (this.#outcome) throw this.#outcome.error
      this.#waiter ??= Promise.withResolvers()
      this.#options.pace.waiting()
      await this.#waiter.promise
    }
    return true
  }

  get arrived(): number {
    return this.#arrived
  }

  close(): void {
    this.#fail(new Error('the source was closed'))
  }

  #begin(...[status, headers]: Parameters<typeof readHead>): void {
    try {
      const head = readHead(status, headers)
      this.#length = head.length
      this.#head.resolve(head)
    } catch (error) {
      this.#fail(error)
      return
    }
    this.#hasHead = true
    const { limits, pace } = this.#options
    this.#unwatch = pace.watch(() => {
      const { slowRate, slowWindowMs } = limits
      const why = `less than ${slowRate} bytes a second arrived over ${slowWindowMs / 1000} seconds`
      this.#fail(downloadFailure(why, { retryable: true, hint: 'Use a faster server, or try again later.' }))
    })
  }

  #receive(chunk: Uint8Array): void {
    if (this.#outcome) return
    this.#arrived += chunk.length
    this.#queue.push(chunk)
    this.#queuedBytes += chunk.length
    if (this.#isFilled(1)) this.#controller?.pause()
    this.#options.pace.arrived(chunk.length)
    this.#wake()
    const { bodyLimit } = this.#options
    if (this.#arrived > bodyLimit) this.#fail(sourceTooLarge(this.#arrived, bodyLimit))
    // A server that closes behind its last byte, while the connection rests, would count as one that broke off.
    else if (this.#arrived === this.#length) this.#settle('complete')
  }

  #isFilled(part: number): boolean {
    return this.#queuedBytes >= MAX_QUEUED_BYTES * part || this.#queue.length >= MAX_QUEUED_CHUNKS * part
  }

  readonly #onAbort = () => this.#fail(this.#options.signal.reason)

  #fail(error: unknown): void {
    this.#settle({ error })
  }

  #settle(outcome: { readonly error: unknown } | 'complete'): void {
    if (this.#outcome) return
    this.#outcome = outcome
    this.#unwatch()
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    if (outcome !== 'complete') {
      this.#connected.reject(outcome.error)
      this.#head.reject(outcome.error)
    }
    this.#closing.abort()
    this.#wake()
  }

  #wake(): void {
    this.#waiter?.resolve()
    this.#waiter = undefined
  }
}
