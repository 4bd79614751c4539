import { isIP } from 'node:net'
import { buildConnector, Client } from 'undici'
import { KiB } from '#base/bytes.ts'

export interface ConnectionOptions {
  readonly url: URL
  /** The one address, already checked, that is connected to. */
  readonly address: string
  /** For connecting, the TLS handshake included. */
  readonly timeoutMs: number
  /** Ends the connection at any time, also while it is being made. */
  readonly signal: AbortSignal
  /**
   * Told what broke the connection once it was made, before undici is: to undici, a reset ends a body without a length
   * in order.
   */
  readonly onError: (cause: Error) => void
}

/** Bytes of header names and values together; file servers send far less. */
export const MAX_HEAD_SIZE = 16 * KiB

/**
 * Makes a client for one exchange with the URL's host at a given address. No other address is ever tried, no name
 * looked up and no proxy of the environment asked (docs/decisions/0013-addresses-are-pinned.md).
 */
export function createClient({ url, address, timeoutMs, signal, onError }: ConnectionOptions): Client {
  // A certificate names no trailing dot.
  const servername = url.hostname.endsWith('.') ? { servername: url.hostname.slice(0, -1) } : {}
  const connect = buildConnector({
    ...servername,
    lookup: (_name, _options, callback) => callback(null, address, isIP(address)),
    autoSelectFamily: false,
    timeout: timeoutMs,
    signal,
    allowH2: false,
    // Not left to the environment: NODE_TLS_REJECT_UNAUTHORIZED must not open the door.
    rejectUnauthorized: true,
  })
  return new Client(url.origin, {
    maxHeaderSize: MAX_HEAD_SIZE,
    allowH2: false,
    connect: (options, callback) =>
      connect(options, (...[error, socket]) => {
        if (error) return callback(error, null)
        socket.on('error', onError)
        callback(null, socket)
      }),
  })
}
