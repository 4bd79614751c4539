import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import { boundOf } from '#model/account-limits.ts'
import type { ServerSettings } from './deps.ts'
import type { ServerUse } from './servers.ts'

const toMib = (bytes: number | undefined) => (bytes === undefined ? undefined : Math.floor(bytes / MiB))

/** What an account has and may have, at this moment. */
export async function readUse(
  tables: Pick<Tables, 'accounts' | 'servers' | 'volumes'>,
  accountId: string,
  { perAccount }: Pick<ServerSettings, 'perAccount'>,
): Promise<ServerUse> {
  const limits = await tables.accounts.limits(accountId)
  const { servers, ram } = await tables.servers.sums(accountId)
  const disk = Math.ceil((await tables.volumes.sumSize(accountId)) / MiB)
  return {
    servers: { used: servers, limit: boundOf(limits.servers, perAccount.servers) },
    ram: { used: ram, limit: boundOf(limits.ram, toMib(perAccount.ram)) },
    disk: { used: disk, limit: boundOf(limits.disk, toMib(perAccount.disk)) },
  }
}

const WORDS = { servers: 'servers', ram: 'MiB of memory', disk: 'MiB of disk' } as const

/** To be asked in the transaction that adds the server. Sizes in MiB. @throws denied where it would be too much */
export function demandRoom(use: ServerUse, wanted: { readonly ram: number; readonly disk: number }): void {
  const amounts = { servers: 1, ...wanted }
  for (const kind of ['servers', 'ram', 'disk'] as const) {
    const { used, limit } = use[kind]
    if (limit === undefined || used + amounts[kind] <= limit) continue
    const message = `the account may have ${limit} ${WORDS[kind]}: ${used} are used, ${amounts[kind]} more wanted`
    throw new LibraryError('denied', message, {
      hint: 'Destroy servers that are no longer needed, or ask the operator for a larger quota.',
    })
  }
}
