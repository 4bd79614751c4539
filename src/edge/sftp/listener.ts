import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Logger } from 'pino'
import { createCounts } from '#base/counts.ts'
import { createDesk, type DeskDeps } from './desk.ts'
import { type HostKeys, readHostKeys } from './host-key.ts'
import { createLoginGuard } from './login-guard.ts'
import type { ProcessSetup } from './process-messages.ts'
import { createSessionProcesses, type SftpObserver } from './session-processes.ts'

export interface SftpServiceOptions extends Omit<DeskDeps, 'guard'> {
  readonly host: string
  /** 0 for any that is free. */
  readonly port: number
  /** Where the host keys are kept, or made. */
  readonly keyFolder: string
  /** Connections in all, and of one address. */
  readonly connections: number
  readonly perAddress: number
  /** Of one user or API client. */
  readonly perLogin: number
  readonly processes: number
  readonly setup: Omit<ProcessSetup, 'hostKeys'>
  readonly observer?: SftpObserver | undefined
  readonly now: () => number
  readonly log: Logger
}

export interface SftpService {
  readonly host: string
  readonly port: number
  /** Of the host key, as clients show it. */
  readonly fingerprint: string
  /** No more connections; those that do something may end it, for so many milliseconds. */
  stop(graceMs: number): Promise<void>
}

/**
 * Listens for SFTP. Encryption would keep the main thread from everything else, so processes of their own do it: each
 * connection is handed to one, and what that must know it asks here.
 */
export async function startSftpService(options: SftpServiceOptions): Promise<SftpService> {
  const { host, port, now, log, observer } = options
  const { privateKeys, fingerprint }: HostKeys = await readHostKeys(options.keyFolder)
  const guard = createLoginGuard({ perLogin: options.perLogin, now })
  const processes = createSessionProcesses({
    count: options.processes,
    setup: { ...options.setup, hostKeys: privateKeys },
    openDesk: () => createDesk({ ...options, guard }),
    observer,
    log,
  })
  const connections = createCounts(options.connections)
  const addresses = createCounts(options.perAddress)

  function accept(socket: Socket): void {
    socket.on('error', () => undefined)
    const address = socket.remoteAddress ?? ''
    using visit = new DisposableStack()
    const hasRoom = visit.use(connections.enter('')) && visit.use(addresses.enter(address))
    if (!hasRoom || guard.delayMs(address) > 0) {
      socket.destroy()
      return
    }
    const staying = visit.move()
    observer?.onConnection(1)
    staying.defer(() => observer?.onConnection(-1))
    processes.give(socket, address, () => staying.dispose())
  }

  const server = createServer({ pauseOnConnect: true }, accept)
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject).listen({ host, port }, listening.resolve)
  await listening.promise
  server
    .off('error', listening.reject)
    .on('error', (error) => log.error({ err: error }, 'SFTP cannot accept'))
  const bound = server.address() as AddressInfo
  return {
    host: bound.address,
    port: bound.port,
    fingerprint,
    async stop(graceMs) {
      server.close()
      await processes.stop(graceMs)
    },
  }
}
