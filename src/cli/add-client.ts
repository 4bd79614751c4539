import type { ClientConfig } from './client-config.ts'
import { type AccountJson, readAccounts } from './commands/accounts.ts'
import { ApiError, CommandError } from './failure.ts'
import { ConnectionError } from './http.ts'
import type { Session } from './session.ts'
import { CredentialsRefused } from './tokens.ts'

export interface NewClient {
  readonly section: string
  /** Keys and values of the section, in the order they are written; undefined ones are left out. */
  readonly values: Readonly<Record<string, string | undefined>>
  readonly password?: string | undefined
  /** Whether a section of this name is changed; else a free name is taken. */
  readonly replace: boolean
}

/**
 * Writes a section, gets a token with it and chooses an account. Like the official client it keeps the section
 * also when the credentials are refused, so that they can be mended in the file.
 */
export async function addClient(session: Session, client: NewClient): Promise<void> {
  const config = await session.config()
  const section = client.replace ? client.section : freeName(session, config, client.section)
  for (const [key, value] of Object.entries({ alias: section, ...client.values })) {
    if (value !== undefined) config.file.set(section, key, value)
  }
  if (config.defaultSection === undefined) config.file.set('core', 'default_client', section)
  await config.dropTokens(section)
  try {
    await authenticate(session, config, section, client.password)
  } finally {
    await config.save()
  }
  if (session.options.json) {
    const keys = ['alias', 'client_id', 'username', 'api_url', 'auth_url', 'default_account']
    session.printJson(Object.fromEntries(keys.map((key) => [key, config.file.get(section, key) ?? null])))
  }
}

function freeName(session: Session, config: ClientConfig, wanted: string): string {
  let name = wanted
  for (let number = 1; config.sections.includes(name); number++) name = `${wanted}_${number}`
  session.terminal.info(
    name === wanted
      ? `Creating new client config ${name}`
      : `A client config named ${wanted} already exists using ${name} instead`,
  )
  return name
}

async function authenticate(
  session: Session,
  config: ClientConfig,
  section: string,
  password: string | undefined,
): Promise<void> {
  const { api, tokens, client } = await session.connect({ section, password })
  try {
    await tokens.renew()
  } catch (error) {
    if (error instanceof ConnectionError)
      throw new CommandError(`get a token: ${error.message}`, asHint(error))
    if (!(error instanceof CredentialsRefused)) throw error
    session.terminal.info('Something went wrong trying to refresh new tokens Invalid credentials')
    session.terminal.info(
      client.isUser
        ? `HINT: nobody is logged in as ${section}; brightbox login tries again`
        : `HINT: the client is saved as ${section} in ${config.path}; mend its secret there`,
    )
    return
  }
  if (client.defaultAccount !== undefined) return
  const accounts = await readAccounts(api).catch((error: unknown) => {
    if (error instanceof ApiError && error.status === 403) return undefined
    throw error
  })
  if (accounts === undefined) return session.terminal.info('This client may use object storage (Orbit) only')
  const account = accounts.find(isUsable)
  if (account === undefined) return
  config.file.set(section, 'default_account', account.id)
  session.terminal.info(`The default account of ${account.id} has been selected`)
}

const asHint = (error: ConnectionError) => (error.hint === undefined ? {} : { hint: error.hint })
const isUsable = ({ status }: AccountJson) => status === 'pending' || status === 'active'
