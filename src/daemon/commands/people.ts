import { randomBytes } from 'node:crypto'
import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { Auth } from '#control/auth/auth.ts'
import type { Limit } from '#model/account-limits.ts'
import type { PermissionsGroup } from '#model/api-client.ts'
import { randomText } from '#model/ids.ts'
import type { Flags } from '../config.ts'
import { printRows } from '../rows.ts'
import { parseMib, parseSize, printSize } from '../units.ts'
import { operatorSession, withParts } from '../with-parts.ts'

export interface CreateAccountFlags extends Flags {
  /** False with `--no-images`. */
  readonly images: boolean
}

export function createAccount(name: string, flags: CreateAccountFlags): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const account = await auth.operator.createAccount({ name, imagesContainer: flags.images })
    console.log(printRows(['id', 'name'], [[account.id, account.name]]))
  })
}

export function setAccountStatus(id: string, status: 'active' | 'suspended', flags: Flags): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const account = await auth.operator.setAccountStatus(id, status)
    console.log(printRows(['id', 'status', 'name'], [[account.id, account.status, account.name]]))
  })
}

export async function setQuota(accountId: string, size: string, flags: Flags): Promise<void> {
  const bytes = size === 'none' ? null : parseSize(size)
  if (bytes === undefined) {
    throw new LibraryError('invalid', `quota ${size} must be none, or a size such as 200GiB`)
  }
  await withParts(flags, async ({ auth }) => {
    await auth.operator.setOrbitQuota(accountId, bytes)
    console.log(printRows(['id', 'quota'], [[accountId, bytes === null ? 'none' : printSize(bytes)]]))
  })
}

export interface LimitFlags extends Flags {
  readonly servers?: string
  readonly ram?: string
  readonly disk?: string
}

/** Without limits it shows those that there are. */
export async function setLimits(accountId: string, flags: LimitFlags): Promise<void> {
  const limits = {
    ...(flags.servers === undefined ? {} : { servers: parseLimit('servers', flags.servers, Number) }),
    ...(flags.ram === undefined ? {} : { ram: parseLimit('ram', flags.ram, parseMib) }),
    ...(flags.disk === undefined ? {} : { disk: parseLimit('disk', flags.disk, parseMib) }),
  }
  await withParts(flags, async ({ auth }) => {
    const { servers, ram, disk } = await auth.operator.setServerLimits(accountId, limits)
    const row = [accountId, String(servers), printLimit(ram), printLimit(disk)]
    console.log(printRows(['id', 'servers', 'ram', 'disk'], [row]))
  })
}

function parseLimit(name: 'servers' | 'ram' | 'disk', text: string, parse: (text: string) => number): Limit {
  if (text === 'none' || text === 'default') return text
  const limit = /^\d/.test(text) ? parse(text) : Number.NaN
  if (Number.isInteger(limit)) return limit
  const unit = name === 'servers' ? 'a whole number' : 'a size in whole MiB such as 8GiB'
  throw new LibraryError('invalid', `--${name} ${text} must be none, default or ${unit}`)
}

const printLimit = (limit: Limit) => (typeof limit === 'number' ? printSize(limit * MiB) : limit)

export function listAccounts(flags: Flags): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const accounts = await auth.operator.listAccounts()
    const rows = accounts.map(({ id, status, createdAt, name }) => [id, status, printDate(createdAt), name])
    console.log(printRows(['id', 'status', 'created_on', 'name'], rows))
  })
}

export interface CreateClientFlags extends Flags {
  readonly account?: string
  readonly name?: string
  readonly permissions: string
}

export async function createClient(flags: CreateClientFlags): Promise<void> {
  const permissions = parsePermissions(flags.permissions)
  await withParts(flags, async ({ auth }) => {
    const { id: accountId } = await chooseAccount(auth, flags.account)
    const attributes = { permissions, ...(flags.name === undefined ? {} : { name: flags.name }) }
    const { client, secret } = await auth.operator.createClient(accountId, attributes)
    console.log(
      printRows(['id', 'account', 'permissions', 'secret'], [[client.id, accountId, permissions, secret]]),
    )
  })
}

function parsePermissions(text: string): PermissionsGroup {
  if (text === 'full' || text === 'storage') return text
  throw new LibraryError('invalid', '--permissions must be full or storage')
}

export function listClients(flags: Flags & { readonly account?: string }): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const accounts =
      flags.account === undefined
        ? await auth.operator.listAccounts()
        : [await chooseAccount(auth, flags.account)]
    const rows: string[][] = []
    for (const account of accounts) {
      for (const client of await auth.clients.list(operatorSession(account.id))) {
        rows.push([client.id, account.id, client.permissions, printDate(client.createdAt), client.name ?? ''])
      }
    }
    console.log(printRows(['id', 'account', 'permissions', 'created_on', 'name'], rows))
  })
}

export function revokeClient(id: string, flags: Flags): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const { accountId, revokedAt } = await auth.operator.revokeClient(id)
    const revokedOn = revokedAt === null ? '' : printDate(revokedAt)
    console.log(printRows(['id', 'account', 'revoked_on'], [[id, accountId, revokedOn]]))
  })
}

export interface CreateUserFlags extends Flags {
  readonly account?: readonly string[]
  readonly name?: string
}

const PASSWORD_LENGTH = 20

const newPassword = () => randomText(PASSWORD_LENGTH, randomBytes)

export function createUser(email: string, flags: CreateUserFlags): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const accountIds: string[] = []
    for (const wanted of flags.account ?? [undefined]) {
      accountIds.push((await chooseAccount(auth, wanted)).id)
    }
    const password = newPassword()
    const name = flags.name ?? email.split('@', 1)[0] ?? email
    const user = await auth.operator.createUser({ name, email, password, accountIds })
    console.log(
      printRows(
        ['id', 'email', 'accounts', 'password'],
        [[user.id, user.email, accountIds.join(','), password]],
      ),
    )
  })
}

export function resetPassword(email: string, flags: Flags): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const { id } = await auth.operator.findUser(email)
    const password = newPassword()
    await auth.operator.setPassword(id, password)
    console.log(printRows(['id', 'email', 'password'], [[id, email, password]]))
  })
}

export function removeUser(email: string, flags: Flags & { readonly account?: string }): Promise<void> {
  return withParts(flags, async ({ auth }) => {
    const { id, accountIds } = await auth.operator.removeUser(email, flags.account)
    console.log(
      printRows(['id', 'email', 'accounts'], [[id, email, accountIds.join(',') || 'none: removed']]),
    )
  })
}

/** @throws not_found; invalid where none is named and there are several */
async function chooseAccount(auth: Auth, wanted: string | undefined) {
  const accounts = await auth.operator.listAccounts()
  const found = wanted === undefined ? accounts[0] : accounts.find(({ id }) => id === wanted)
  if (!found) {
    throw new LibraryError(
      'not_found',
      wanted === undefined ? 'there is no account' : `account ${wanted} does not exist`,
      {
        hint: 'image-library account list shows all accounts, account create makes one',
      },
    )
  }
  if (wanted === undefined && accounts.length > 1) {
    throw new LibraryError('invalid', `--account is required: there are ${accounts.length} accounts`, {
      hint: 'image-library account list shows them',
    })
  }
  return found
}

const printDate = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
