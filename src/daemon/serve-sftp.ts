import { join } from 'node:path'
import type { Logger } from 'pino'
import { type SftpService, startSftpService } from '#edge/sftp/listener.ts'
import type { SftpObserver } from '#edge/sftp/session-processes.ts'
import type { Config } from './config.ts'
import { listenError } from './listen-error.ts'
import type { Parts } from './wire.ts'

/** Listens for SFTP, where that is wanted. */
export async function serveSftp(
  config: Config,
  parts: Parts,
  { log, observer }: { readonly log: Logger; readonly observer: SftpObserver },
): Promise<SftpService | undefined> {
  if (!config.sftp) return undefined
  const { host, port, processes, connections, perAddress, perLogin, ...limits } = config.sftp
  const folder = (name: string) => join(config.data, name)
  const { auth, orbit, keep, storePlace } = parts
  try {
    return await startSftpService({
      ...{ host, port, connections, perAddress, perLogin, processes },
      ...{ auth, orbit, keep },
      keyFolder: config.hostKeys,
      setup: {
        storePlace,
        spoolDirectory: folder('spool'),
        reserve: config.reserve,
        threads: config.orbit.threads,
        limits,
      },
      now: Date.now,
      observer,
      log,
    })
  } catch (cause) {
    throw listenError(cause, '--sftp', host, port)
  }
}
