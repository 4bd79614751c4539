import type { AccountInfo } from '#control/orbit/orbit.ts'
import type { Caller } from '#model/orbit.ts'
import type { Exchange, Headers } from './exchange.ts'
import { chooseType, readListQuery, sendListing, typeHeaders } from './listing.ts'
import { printMetadata, readMetadataChange } from './metadata.ts'
import { sendEmpty } from './reply.ts'
import { printTimestamp } from './times.ts'

/** GET and HEAD. */
export async function showAccount(exchange: Exchange, caller: Caller): Promise<void> {
  const { method, path, deps } = exchange
  const type = chooseType(exchange)
  const headers = typeHeaders(exchange, type)
  if (method === 'HEAD') {
    describe(await deps.orbit.accounts.show(caller, path.account), headers)
    return sendEmpty(exchange, 204, headers)
  }
  const { info, rows } = await deps.orbit.accounts.list(caller, path.account, readListQuery(exchange))
  describe(info, headers)
  sendListing(exchange, headers, type, rows)
}

/** POST. */
export async function updateAccount(exchange: Exchange, caller: Caller): Promise<void> {
  const change = readMetadataChange(exchange, 'account')
  await exchange.deps.orbit.accounts.update(caller, exchange.path.account, change)
  sendEmpty(exchange, 204)
}

function describe(info: AccountInfo, headers: Headers): void {
  const { containerCount, objectCount, bytesUsed, createdAt, metadata } = info
  const counts = {
    'Container-Count': String(containerCount),
    'Object-Count': String(objectCount),
    'Bytes-Used': String(bytesUsed),
  }
  for (const [name, count] of Object.entries(counts)) {
    headers[`X-Account-${name}`] = count
    headers[`X-Account-Storage-Policy-Policy-0-${name}`] = count
  }
  headers['X-Timestamp'] = printTimestamp(createdAt)
  printMetadata('account', metadata, headers)
}
