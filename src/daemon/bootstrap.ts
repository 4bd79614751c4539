import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Auth } from '#control/auth/auth.ts'
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

/**
 * Makes an account, a client that may do everything, a user and the command line's configuration.
 * @returns undefined where the folder has accounts already
 */
export async function bootstrap(
  auth: Auth,
  { data, apiUrl }: { readonly data: string; readonly apiUrl: string },
): Promise<Bootstrapped | undefined> {
  if ((await auth.operator.listAccounts()).length > 0) {
    await updateApiUrl(iniPath(data), apiUrl)
    return undefined
  }
  const account = await auth.operator.createAccount({ name: 'Default account' })
  const { client, secret } = await auth.operator.createClient(account.id, {
    name: 'First client',
    description: 'Made with the data folder',
    permissions: 'full',
  })
  const password = randomText(PASSWORD_LENGTH, randomBytes)
  await auth.operator.createUser({ name: 'Administrator', email: EMAIL, password, accountIds: [account.id] })
  await writeIni(iniPath(data), printIni({ clientId: client.id, secret, accountId: account.id, apiUrl }))
  return { accountId: account.id, clientId: client.id, secret, email: EMAIL, password }
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
async function updateApiUrl(path: string, apiUrl: string): Promise<void> {
  if (!existsSync(path)) return
  const before = await readFile(path, 'utf8')
  const after = before.replace(/^(api_url|auth_url)(\s*=\s*).*$/gm, `$1$2${apiUrl}`)
  if (after !== before) await writeIni(path, after)
}

async function writeIni(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  await writeFile(temporary, text, { mode: 0o600, flush: true })
  await rename(temporary, path)
}
