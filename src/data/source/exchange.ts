import type { Socket } from 'node:net'
import type { ImportLimits } from '#base/limits.ts'
import { connect } from './connection.ts'
import { ConnectionLost, downloadFailure, sourceTooLarge, TRY_AGAIN } from './failure.ts'
import type { Pace, Stall } from './pace.ts'
import { createReceiveSlots } from './receive-slots.ts'
import { type BodyReader, createBodyReader } from './response-body.ts'
import { createHeadReader, type ResponseHead } from './response-head.ts'

export interface ExchangeRequest {
  readonly url: URL
  /** Checked addresses of the URL's host. */
  readonly addresses: readonly string[]
  readonly headers: Readonly<Record<string, string>>
  readonly limits: ImportLimits
  /** Bytes of the body that are at most wanted; one more fails as too large. */
  readonly bodyLimit: number
  readonly pace: Pace
  readonly signal: AbortSignal
}

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

export interface Answer {
  readonly head: ResponseHead
  readonly body: Body
}

/**
 * One GET on a connection of its own, which is never used again: what a server sends after the body cannot be mistaken
 * for another answer. The body is what was sent, whatever its content coding.
 * @throws SourceFailure, or the signal's reason
 */
export async function exchange(request: ExchangeRequest): Promise<Answer> {
  const { url, addresses, limits, signal } = request
  const receiver = createReceiver(request)
  try {
    const socket = await connect({
      url,
      addresses,
      timeoutMs: limits.connectMs,
      onread: receiver.onread,
      signal,
    })
    receiver.attach(socket)
    socket.write(requestText(request), 'latin1')
    return { head: await receiver.head, body: receiver.body }
  } catch (error) {
    receiver.body.close()
    throw error
  }
}

function requestText({ url, headers }: ExchangeRequest): string {
  const fields = {
    host: url.host,
    'user-agent': 'image-library',
    accept: '*/*',
    'accept-encoding': 'identity',
    connection: 'close',
    ...headers,
  }
  const lines = [`GET ${url.pathname}${url.search} HTTP/1.1`]
  for (const [name, value] of Object.entries(fields)) lines.push(`${name}: ${value}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

const STALLS: Readonly<Record<Stall, (limits: ImportLimits) => Error>> = {
  silent: ({ silenceMs }) => new ConnectionLost(`the server sent nothing for ${silenceMs / 1000} seconds`),
  slow: ({ slowRate, slowWindowMs }) =>
    downloadFailure(`less than ${slowRate} bytes a second arrived over ${slowWindowMs / 1000} seconds`, {
      retryable: true,
      hint: 'Use a faster server, or try again later.',
    }),
}

/** Reads one response from a socket: the head, then the body into slots that the consumer empties. */
function createReceiver({ limits, bodyLimit, pace, signal }: ExchangeRequest) {
  const headReader = createHeadReader()
  const head = Promise.withResolvers<ResponseHead>()
  const slots = createReceiveSlots(() => socket?.resume())
  let socket: Socket | undefined
  let bodyReader: BodyReader | undefined
  let waiter: PromiseWithResolvers<void> | undefined
  let outcome: { readonly error: unknown } | 'complete' | undefined
  let arrived = 0
  let headTimer: NodeJS.Timeout | undefined
  let unwatch = () => {}

  const wake = () => {
    waiter?.resolve()
    waiter = undefined
  }
  const settle = (reached: NonNullable<typeof outcome>) => {
    if (outcome) return
    outcome = reached
    clearTimeout(headTimer)
    unwatch()
    signal.removeEventListener('abort', onAbort)
    socket?.destroy()
    if (reached !== 'complete') head.reject(reached.error)
    wake()
  }
  const fail = (error: unknown) => settle({ error })
  const onAbort = () => fail(signal.reason)

  const receiveHead = (bytes: Uint8Array): number | undefined => {
    const bodyStart = headReader.feed(bytes)
    if (bodyStart === undefined) return undefined
    clearTimeout(headTimer)
    const complete = headReader.head()
    bodyReader = createBodyReader(complete.framing)
    unwatch = pace.watch((stall) => fail(STALLS[stall](limits)))
    head.resolve(complete)
    return bodyStart
  }
  const receive = (bytes: Uint8Array) => {
    const bodyStart = bodyReader ? 0 : receiveHead(bytes)
    if (bodyStart === undefined || !bodyReader) return
    const before = arrived
    try {
      bodyReader.feed(bytes.subarray(bodyStart), (start, end) => {
        slots.append(bodyStart + start, bodyStart + end)
        arrived += end - start
      })
    } finally {
      if (arrived > before) {
        pace.arrived(arrived - before)
        wake()
      }
    }
    if (arrived > bodyLimit) fail(sourceTooLarge(arrived, bodyLimit))
    else if (bodyReader.isComplete) settle('complete')
  }
  const lost = (cause?: unknown) => {
    if (bodyReader?.mayEnd) return settle('complete')
    const options = cause === undefined ? {} : { cause }
    if (bodyReader) return fail(new ConnectionLost(`the connection was lost after ${arrived} bytes`, options))
    const hint = TRY_AGAIN
    fail(
      downloadFailure('the server closed the connection without an answer', {
        ...options,
        retryable: true,
        hint,
      }),
    )
  }
  const headTimedOut = () =>
    fail(
      downloadFailure(`the server did not answer within ${limits.headersMs / 1000} seconds`, {
        retryable: true,
        hint: TRY_AGAIN,
      }),
    )

  const body: Body = {
    take: () => slots.take(),
    async more() {
      while (slots.isEmpty) {
        if (outcome === 'complete') return false
        if (outcome) throw outcome.error
        waiter ??= Promise.withResolvers()
        pace.waiting()
        await waiter.promise
      }
      return true
    },
    get arrived() {
      return arrived
    },
    close: () => fail(new Error('internal error: the body was closed')),
  }
  // Whoever fails first may be long gone; the one that waits for the head hears of it all the same.
  head.promise.catch(() => {})

  return {
    head: head.promise,
    body,
    onread: {
      buffer: () => slots.region(),
      callback: (length: number) => {
        if (outcome) return false
        try {
          receive(slots.region().subarray(0, length))
          slots.settle()
        } catch (error) {
          fail(error)
        }
        return !slots.shouldRest
      },
    },
    attach(connected: Socket) {
      socket = connected
      if (outcome) {
        socket.destroy()
        return
      }
      socket.on('end', () => lost())
      socket.on('error', lost)
      socket.on('close', () => lost())
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) onAbort()
      if (!bodyReader) headTimer = setTimeout(headTimedOut, limits.headersMs)
    },
  }
}
