import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import type { Session } from '#model/session.ts'
import { type Config, type Flags, readConfig } from './config.ts'
import { createLog } from './log.ts'
import { type Parts, wire } from './wire.ts'

/** Opens the data folder for one command; a running library may have it open as well. */
export async function withParts<T>(
  flags: Flags,
  work: (parts: Parts, config: Config) => Promise<T>,
): Promise<T> {
  const config = readConfig(flags)
  // Else a mistyped path would become an empty library.
  if (!existsSync(join(config.data, 'catalog.sqlite'))) {
    throw new LibraryError('not_found', `open the data folder ${config.data}: there is no library in it`, {
      hint: 'name the folder with --data; image-library serve makes a new one',
    })
  }
  await using parts = await wire({ config, log: createLog('warn'), exclusive: false })
  return await work(parts, config)
}

/** What the operator sees of an account: all of it. */
export const operatorSession = (accountId: string): Session => ({
  accountId,
  clientId: null,
  userId: null,
  permissions: 'full',
  scopes: ['infrastructure', 'orbit'],
})
