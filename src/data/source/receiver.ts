import type { Socket } from 'node:net'
import type { ImportLimits } from '#base/limits.ts'
import { ConnectionLost, downloadFailure, sourceTooLarge, TRY_AGAIN } from './failure.ts'
import type { Pace, Stall } from './pace.ts'
import { createReceiveSlots } from './receive-slots.ts'
import { type BodyReader, createBodyReader } from './response-body.ts'
import { createHeadReader, type ResponseHead } from './response-head.ts'

export interface Body {
  /** Bytes that have arrived, valid until the next call; undefined where `more` has to be awaited. */
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

/** Reads one response from a socket: the head, then the body into slots that the consumer empties. */
export class Receiver implements Body {
  readonly #options: ReceiverOptions
  readonly #headReader = createHeadReader()
  readonly #head = Promise.withResolvers<ResponseHead>()
  readonly #slots = createReceiveSlots(() => this.#socket?.resume())
  #socket: Socket | undefined
  #bodyReader: BodyReader | undefined
  #waiter: PromiseWithResolvers<void> | undefined
  #outcome: { readonly error: unknown } | 'complete' | undefined
  #arrived = 0
  #headTimer: NodeJS.Timeout | undefined
  #unwatch = () => {}

  constructor(options: ReceiverOptions) {
    this.#options = options
    // Whoever waits for the head hears of a failure; if nobody does, it is no unhandled rejection.
    this.#head.promise.catch(() => {})
  }

  /** What the socket is to be made with. */
  readonly onread = {
    buffer: () => this.#slots.region(),
    callback: (length: number) => {
      if (this.#outcome) return false
      try {
        this.#receive(this.#slots.region().subarray(0, length))
        this.#slots.settle()
      } catch (error) {
        this.#fail(error)
      }
      return !this.#slots.shouldRest
    },
  }

  /** Begins to wait for the head. */
  attach(socket: Socket): void {
    const { limits, signal } = this.#options
    this.#socket = socket
    socket.on('end', () => this.#lost())
    socket.on('error', (cause) => this.#lost(cause))
    socket.on('close', () => this.#lost())
    signal.addEventListener('abort', this.#onAbort)
    this.#headTimer = setTimeout(() => {
      const why = `the server did not answer within ${limits.headersMs / 1000} seconds`
      this.#fail(downloadFailure(why, { retryable: true, hint: TRY_AGAIN }))
    }, limits.headersMs)
    if (signal.aborted) this.#onAbort()
  }

  head(): Promise<ResponseHead> {
    return this.#head.promise
  }

  take(): Uint8Array | undefined {
    return this.#slots.take()
  }

  async more(): Promise<boolean> {
    while (this.#slots.isEmpty) {
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

  #receive(bytes: Uint8Array): void {
    const bodyStart = this.#bodyReader ? 0 : this.#receiveHead(bytes)
    const bodyReader = this.#bodyReader
    if (bodyStart === undefined || !bodyReader) return
    const before = this.#arrived
    try {
      bodyReader.feed(bytes.subarray(bodyStart), (start, end) => {
        this.#slots.append(bodyStart + start, bodyStart + end)
        this.#arrived += end - start
      })
    } finally {
      if (this.#arrived > before) {
        this.#options.pace.arrived(this.#arrived - before)
        this.#wake()
      }
    }
    const { bodyLimit } = this.#options
    if (this.#arrived > bodyLimit) this.#fail(sourceTooLarge(this.#arrived, bodyLimit))
    else if (bodyReader.isComplete) this.#settle('complete')
  }

  /** @returns where the body begins, once the head is complete */
  #receiveHead(bytes: Uint8Array): number | undefined {
    const bodyStart = this.#headReader.feed(bytes)
    if (bodyStart === undefined) return undefined
    clearTimeout(this.#headTimer)
    const head = this.#headReader.head()
    this.#bodyReader = createBodyReader(head.framing)
    this.#unwatch = this.#options.pace.watch((stall) => this.#fail(STALLS[stall](this.#options.limits)))
    this.#head.resolve(head)
    return bodyStart
  }

  /** The connection has ended, in order or not. */
  #lost(cause?: unknown): void {
    if (this.#bodyReader?.mayEnd && cause === undefined) {
      this.#settle('complete')
      return
    }
    const options = cause === undefined ? {} : { cause }
    if (this.#bodyReader) {
      this.#fail(new ConnectionLost(`the connection was lost after ${this.#arrived} bytes`, options))
      return
    }
    const why = 'the server closed the connection without an answer'
    this.#fail(downloadFailure(why, { ...options, retryable: true, hint: TRY_AGAIN }))
  }

  readonly #onAbort = () => this.#fail(this.#options.signal.reason)

  #fail(error: unknown): void {
    this.#settle({ error })
  }

  #settle(outcome: { readonly error: unknown } | 'complete'): void {
    if (this.#outcome) return
    this.#outcome = outcome
    clearTimeout(this.#headTimer)
    this.#unwatch()
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    this.#socket?.destroy()
    if (outcome !== 'complete') this.#head.reject(outcome.error)
    this.#wake()
  }

  #wake(): void {
    this.#waiter?.resolve()
    this.#waiter = undefined
  }
}

const STALLS: Readonly<Record<Stall, (limits: ImportLimits) => Error>> = {
  silent: ({ silenceMs }) => new ConnectionLost(`the server sent nothing for ${silenceMs / 1000} seconds`),
  slow: ({ slowRate, slowWindowMs }) =>
    downloadFailure(`less than ${slowRate} bytes a second arrived over ${slowWindowMs / 1000} seconds`, {
      retryable: true,
      hint: 'Use a faster server, or try again later.',
    }),
}
