import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { downloadFailure, networkFailure, TRY_AGAIN } from './failure.ts'
import { waitWithin } from './wait.ts'

/** The socket's reads: into memory that the reader hands out, and told to it; false makes the socket rest. */
export interface ReadInto {
  readonly buffer: () => Uint8Array
  readonly callback: (length: number) => boolean
}

/**
 * Connects to the first address that answers, all of them within `timeoutMs`, the TLS handshake included. Only these
 * addresses are ever tried: no name is looked up, no proxy of the environment is asked.
 * @throws SourceFailure, or the signal's reason
 */
export async function connect(request: {
  readonly url: URL
  readonly addresses: readonly string[]
  readonly timeoutMs: number
  readonly onread: ReadInto
  readonly signal: AbortSignal
}): Promise<Socket> {
  const { url, addresses, timeoutMs, onread, signal } = request
  const deadline = performance.now() + timeoutMs
  let failure: unknown
  for (const [index, address] of addresses.entries()) {
    // An address that swallows packets must leave time for the next one.
    const share = Math.max(1, (deadline - performance.now()) / (addresses.length - index))
    const { socket, connected } = dial(url, address, onread)
    try {
      await waitWithin(connected, share, signal, connectTimedOut)
      return socket
    } catch (error) {
      socket.destroy()
      signal.throwIfAborted()
      failure = error
    }
  }
  throw networkFailure(failure)
}

const connectTimedOut = () =>
  downloadFailure('the server did not accept the connection in time', { retryable: true, hint: TRY_AGAIN })

function dial(url: URL, address: string, onread: ReadInto): { socket: Socket; connected: Promise<void> } {
  const isTls = url.protocol === 'https:'
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port)
  const target = { host: address, port, onread }
  // The name is for the certificate and the server to choose by; for a URL that names an address, that is `host`.
  const name = url.hostname.replace(/\.$/, '')
  const names = isIP(address) && name === hostOf(address) ? {} : { servername: name }
  const socket = isTls
    ? // Not left to the environment: NODE_TLS_REJECT_UNAUTHORIZED must not open the door.
      connectTls({ ...target, ...names, ALPNProtocols: ['http/1.1'], rejectUnauthorized: true })
    : connectTcp(target)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once(isTls ? 'secureConnect' : 'connect', resolve)
  // Stays for good, so that an error after the last reader has left is no crash.
  socket.on('error', reject)
  socket.once('close', () => reject(new Error('closed before it was connected')))
  return { socket, connected: promise }
}

/** An address as it stands in a URL. */
function hostOf(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname : address
}
