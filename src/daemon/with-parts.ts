import type { Logger } from 'pino'
import type { Session } from '#model/session.ts'
import { type Config, type Flags, readConfig } from './config.ts'
import { demandLibrary, makeDataFolder } from './data-folder.ts'
import { createLog } from './log.ts'
import { type Parts, wire } from './wire.ts'

/** Opens the data folder for one command; a running library may have it open as well. */
export async function withParts<T>(
  flags: Flags,
  work: (parts: Parts, config: Config, log: Logger) => Promise<T>,
): Promise<T> {
  const config = readConfig(flags)
  // Where the catalog is in a database, the folder may be new.
  await (config.catalog ? makeDataFolder : demandLibrary)(config.data)
  const log = createLog('warn')
  await using parts = await wire({ config, log, exclusive: false })
  return await work(parts, config, log)
}

/** What the operator sees of an account: all of it. */
export const operatorSession = (accountId: string): Session => ({
  accountId,
  clientId: null,
  userId: null,
  permissions: 'full',
  scopes: ['infrastructure', 'orbit'],
})
