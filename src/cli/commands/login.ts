import { addClient } from '../add-client.ts'
import { CommandError } from '../failure.ts'
import type { Session } from '../session.ts'
import { checkAlias, readUrls } from './config.ts'

export interface Options {
  readonly password?: string
  readonly apiUrl?: string
  readonly authUrl?: string
  readonly defaultAccount?: string
  readonly applicationId?: string
  readonly applicationSecret?: string
}

/** Logs a user in; the section of the configuration is named after the email address. */
export async function run(session: Session, args: readonly string[], options: Options) {
  const [email] = args
  if (!email) throw new CommandError('You must specify your email address')
  const section = checkAlias(email)
  const config = await session.config()
  const kept = (key: string) => config.file.get(section, key) || undefined
  const urls = readUrls(
    options.apiUrl ?? kept('api_url'),
    options.authUrl ?? (options.apiUrl === undefined ? kept('auth_url') : undefined),
    process.env,
  )
  const password = options.password || (await session.terminal.askSecret('Enter your password : '))
  if (password === '') throw new CommandError('You must specify your Brightbox password.')
  const values = {
    client_id: options.applicationId,
    username: email,
    secret: options.applicationSecret,
    ...urls,
    default_account: options.defaultAccount,
  }
  await addClient(session, { section, values, password, replace: true })
}
