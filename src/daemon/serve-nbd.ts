import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import { LibraryError } from '#base/errors.ts'
import { startNbdListener } from '#edge/nbd/listener.ts'
import type { NbdService } from '#edge/nbd/service.ts'
import type { Config } from './config.ts'
import { listenError } from './listen-error.ts'
import type { Parts } from './wire.ts'

/**
 * Listens for NBD where the settings say so.
 * @throws invalid where certificate or key cannot be read or used
 */
export async function serveNbd({ nbd }: Config, parts: Parts, log: Logger): Promise<NbdService | undefined> {
  if (!nbd) return undefined
  const { host, port } = nbd
  const { auth, library, contents } = parts
  const tls = nbd.tls && {
    certificate: await readPem('nbd.certificate', nbd.tls.certificate),
    key: await readPem('nbd.key', nbd.tls.key),
  }
  try {
    const { openDisk } = contents
    return await startNbdListener({ auth, library, openDisk, host, port, tls, now: Date.now, log })
  } catch (cause) {
    if (cause instanceof LibraryError) throw cause
    throw listenError(cause, 'nbd.listen', host, port)
  }
}

async function readPem(setting: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new LibraryError('invalid', `${setting} names a file that cannot be read: ${path}`, { cause })
  }
}
