import { connect } from './connection.ts'
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
 * One GET on a connection of its own, which is never used again: what a server sends after the body cannot be mistaken
 * for another answer. The body is what was sent, whatever its content coding.
 * @throws SourceFailure, or the signal's reason
 */
export async function exchange(request: ExchangeRequest): Promise<Answer> {
  const { url, addresses, limits, signal } = request
  const receiver = new Receiver(request)
  try {
    const { onread } = receiver
    const socket = await connect({ url, addresses, timeoutMs: limits.connectMs, onread, signal })
    receiver.attach(socket)
    socket.write(requestText(request), 'latin1')
    return { head: await receiver.head(), body: receiver }
  } catch (error) {
    receiver.close()
    throw error
  }
}

/** The request's bytes; a URL's path and query are ASCII without spaces or line ends once they are parsed. */
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
