import { createClient } from './connection.ts'
import { networkFailure } from './failure.ts'
import { type Body, Receiver, type ReceiverOptions } from './receiver.ts'
import type { ResponseHead } from './response-head.ts'

export interface ExchangeRequest extends ReceiverOptions {
  readonly url: URL
  /** Checked addresses of the URL's host. */
  readonly addresses: readonly string[]
  readonly headers: Readonly<Record<string, string>>
}

export interface Answer {
  readonly head: ResponseHead
  readonly body: Body
}

/**
 * One GET on a connection of its own, to the first address that answers; the connection is never used again. The body
 * is what was sent, whatever its content coding.
 * @throws SourceFailure, or the signal's reason
 */
export async function exchange(request: ExchangeRequest): Promise<Answer> {
  const { addresses, limits, signal } = request
  const deadline = performance.now() + limits.connectMs
  let failure: unknown
  for (const [index, address] of addresses.entries()) {
    // An address that swallows packets must leave time for the next one.
    const share = Math.max(1, (deadline - performance.now()) / (addresses.length - index))
    const receiver = new Receiver(request)
    send(request, address, share, receiver)
    try {
      await receiver.connected()
    } catch (error) {
      signal.throwIfAborted()
      failure = error
      continue
    }
    return { head: await receiver.head(), body: receiver }
  }
  throw networkFailure(failure)
}

function send(request: ExchangeRequest, address: string, timeoutMs: number, receiver: Receiver): void {
  const { url, limits, headers } = request
  const { signal, lost: onError } = receiver
  createClient({ url, address, timeoutMs, signal, onError }).dispatch(
    {
      method: 'GET',
      path: url.pathname + url.search,
      headers: { 'user-agent': 'image-library', accept: '*/*', 'accept-encoding': 'identity', ...headers },
      reset: true,
      // The receiver's own: this one would begin anew with each 1xx answer.
      headersTimeout: 0,
      bodyTimeout: limits.silenceMs,
    },
    receiver.handler,
  )
}
