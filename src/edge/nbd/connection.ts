import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import { LibraryError } from '#base/errors.ts'
import type { Exports } from './exports.ts'
import { negotiate } from './negotiation.ts'
import { type Budget, transmit } from './transmission.ts'
import { Hangup, Wire } from './wire.ts'

export interface ConnectionLimits {
  /** Milliseconds until an export must be agreed on. */
  readonly negotiationMs: number
  /** How long a client may take nothing of what it asked for, milliseconds; undefined for no bound. */
  readonly stallMs: number | undefined
}

export interface ConnectionDeps {
  readonly exports: Exports
  /** Where it is set, nothing is told without TLS. */
  readonly tls: SecureContext | undefined
  readonly limits: ConnectionLimits
  readonly budget: Budget
  readonly onBug: (error: unknown) => void
}

/** Serves one connection; resolves once it is gone and nothing of it is left. Never rejects. */
export async function serveConnection(socket: Socket, deps: ConnectionDeps): Promise<void> {
  const { exports, tls, limits, budget, onBug } = deps
  const gone = new AbortController()
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  // Whoever reads or writes next hears of it.
  socket.on('error', () => {})
  socket.once('close', () => gone.abort(new LibraryError('unavailable', 'read a disk: the client is gone')))
  const hangUp = () => socket.destroy()
  const timer = setTimeout(hangUp, limits.negotiationMs)
  const startTls = tls && (async () => new Wire(await secured(socket, tls), limits.stallMs))
  try {
    const wire = new Wire(socket, limits.stallMs)
    await using terms = await negotiate({ wire, exports, startTls, onBug })
    clearTimeout(timer)
    await transmit({ terms, budget, signal: gone.signal, hangUp, onBug })
  } catch (error) {
    if (!(error instanceof Hangup)) onBug(error)
  } finally {
    clearTimeout(timer)
    hangUp()
    await closed
  }
}

/** @throws Hangup where the client does not come to terms */
async function secured(socket: Socket, secureContext: SecureContext): Promise<TLSSocket> {
  const secure = new TLSSocket(socket, { isServer: true, secureContext })
  secure.on('error', () => {})
  // It would let a client have us compute without end.
  secure.disableRenegotiation()
  const ready = Promise.withResolvers<void>()
  secure.once('secure', ready.resolve)
  secure.once('close', () => ready.reject(new Hangup()))
  await ready.promise
  return secure
}
