import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { syncFolder } from '#base/sync-folder.ts'
import type { Auth } from '#control/auth/auth.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { randomText } from '#model/ids.ts'

/** What a new data folder begins with. The secrets are shown this once. */
export interface Bootstrapped {
  readonly accountId: string
  readonly clientId: string
  readonly secret: string
  readonly email: string
  readonly password: string
}

const EMAIL = 'admin@localhost'
const PASSWORD_LENGTH = 20

/** The configuration of the command line for this folder. */
export const iniPath = (data: string): string => join(data, 'brightbox.ini')

/** Set last, to the client's id: a start without it takes up what one before did not come to the end of. */
const DONE = 'bootstrapped'

export interface BootstrapDeps {
  readonly auth: Pick<Auth, 'operator'>
  readonly catalog: Pick<Catalog, 'apiClients' | 'settings' | 'users'>
  /** The data folder. */
  readonly data: string
  readonly apiUrl: string
}

/**
 * Makes an account, a client that may do everything, a user and the command line's configuration; what an interrupted
 * start made of them is used again, but for the client, whose secret nobody knows.
 * @returns undefined where the folder has all that already
 */
export async function bootstrap(deps: BootstrapDeps): Promise<Bootstrapped | undefined> {
  const { auth, catalog, data, apiUrl } = deps
  const { settings } = catalog
  const path = iniPath(data)
  const done = (await settings.get(DONE)) ?? (await clientOf(path, catalog))
  if (done !== undefined) {
    await updateApiUrl(path, done, apiUrl)
    await settings.set(DONE, done)
    return undefined
  }
  const { operator } = auth
  const account =
    (await operator.listAccounts())[0] ?? (await operator.createAccount({ name: 'Default account' }))
  const password = randomText(PASSWORD_LENGTH, randomBytes)
  await makeUser(deps, account.id, password)
  const { client, secret } = await operator.createClient(account.id, {
    name: 'First client',
    description: 'Made with the data folder',
    permissions: 'full',
  })
  // That of a library which had this folder before: nobody else knows its secrets.
  if (existsSync(path)) await rename(path, `${path}.old`)
  await writeIni(path, printIni({ clientId: client.id, secret, accountId: account.id, apiUrl }))
  await settings.set(DONE, client.id)
  return { accountId: account.id, clientId: client.id, secret, email: EMAIL, password }
}

/** The user of an interrupted start gets a new password: nobody has seen the first. */
async function makeUser(
  { auth, catalog }: BootstrapDeps,
  accountId: string,
  password: string,
): Promise<void> {
  const known = await catalog.users.findByEmail(EMAIL)
  if (known) await auth.operator.setPassword(known.id, password)
  else {
    const attributes = { name: 'Administrator', email: EMAIL, password, accountIds: [accountId] }
    await auth.operator.createUser(attributes)
  }
}

/** The client of a configuration that was written just before an interrupted start could say so. */
async function clientOf(
  path: string,
  { apiClients }: Pick<Catalog, 'apiClients'>,
): Promise<string | undefined> {
  if (!existsSync(path)) return undefined
  const id = /^client_id\s*=\s*(\S+)/m.exec(await readFile(path, 'utf8'))?.[1]
  return id === undefined ? undefined : (await apiClients.find(id))?.id
}

interface Section {
  readonly clientId: string
  readonly secret: string
  readonly accountId: string
  readonly apiUrl: string
}

/**
 * The official client's own format. There must be no `username`, not even an empty one: its mere presence would make
 * that client take the section for a user's.
 */
export const printIni = ({ clientId, secret, accountId, apiUrl }: Section): string => `[core]
default_client = ${clientId}

[${clientId}]
alias = ${clientId}
client_id = ${clientId}
secret = ${secret}
api_url = ${apiUrl}
auth_url = ${apiUrl}
default_account = ${accountId}
`

/** The library may listen elsewhere than last time; everything else in the file is its user's. */
async function updateApiUrl(path: string, clientId: string, apiUrl: string): Promise<void> {
  if (!existsSync(path)) return
  const before = await readFile(path, 'utf8')
  // Sections begin at a bracket; the one of our client is its id.
  const sections = before.split(/^(?=\[)/m)
  const after = sections
    .map((section) =>
      section.startsWith(`[${clientId}]`)
        ? section.replace(/^(api_url|auth_url)(\s*=\s*).*$/gm, `$1$2${apiUrl}`)
        : section,
    )
    .join('')
  if (after !== before) await writeIni(path, after)
}

async function writeIni(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  await writeFile(temporary, text, { mode: 0o600, flush: true })
  await rename(temporary, path)
  await syncFolder(dirname(path))
}
