import { type AddressInfo, createServer, type ListenOptions, type Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Logger } from 'pino'
import { type ConnectionLimits, serveConnection } from './connection.ts'
import type { Exports } from './exports.ts'
import { Budget } from './transmission.ts'

/** Blocks, of 1 MiB, that all connections of this process hold beyond the one that each may have. */
const EXTRA_BLOCKS = 64
const everybody = new Budget(EXTRA_BLOCKS)
const KEEPALIVE_MS = 60_000

export interface NbdServiceOptions {
  /** Where to listen: a path, or a host and port. */
  readonly where: Pick<ListenOptions, 'path' | 'host' | 'port'>
  /** What a new connection may open, and what ends with it; undefined to close it at once. */
  readonly admit: (socket: Socket) => (Disposable & { readonly exports: Exports }) | undefined
  readonly tls?: SecureContext | undefined
  readonly limits: ConnectionLimits
  /** How many of the blocks that all may hold these connections may; undefined for all. */
  readonly share?: number | undefined
  readonly log: Pick<Logger, 'error'>
}

export interface NbdService extends AsyncDisposable {
  /** How many are open now. */
  readonly connections: number
  /** Of a service that has a host. */
  readonly host: string
  readonly port: number
}

/** Listens for NBD; disposing of it ends all connections, and resolves once nothing of them is left. */
export async function startNbdService(options: NbdServiceOptions): Promise<NbdService> {
  const { where, admit, tls, limits, share = EXTRA_BLOCKS, log } = options
  const budget = new Budget(share, everybody)
  const open = new Map<Socket, Promise<void>>()
  const onBug = (error: unknown) => log.error({ err: error }, 'NBD met a bug')

  async function serve(socket: Socket): Promise<void> {
    using admitted = admit(socket)
    if (admitted) await serveConnection(socket, { exports: admitted.exports, tls, limits, budget, onBug })
    else socket.destroy()
  }

  const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    socket.setKeepAlive(true, KEEPALIVE_MS)
    const serving = serve(socket).finally(() => open.delete(socket))
    open.set(socket, serving)
    serving.catch(onBug)
  })
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject).listen(where, listening.resolve)
  await listening.promise
  server.off('error', listening.reject).on('error', (error) => log.error({ err: error }, 'NBD cannot accept'))
  const bound = server.address()
  const { address, port } = isAddress(bound) ? bound : { address: '', port: 0 }
  return {
    host: address,
    port,
    get connections() {
      return open.size
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of open.keys()) socket.destroy()
      await Promise.all(open.values())
      await closed
    },
  }
}

const isAddress = (bound: string | AddressInfo | null): bound is AddressInfo =>
  typeof bound === 'object' && bound !== null
