import { addClient } from '../add-client.ts'
import { BUILT_IN_APPLICATION, DEFAULT_API_URL, findSection, parseServiceUrl } from '../client-config.ts'
import { CommandError } from '../failure.ts'
import type { Session } from '../session.ts'

export interface Options {
  readonly alias?: string
  readonly password?: string
}

const LIST_FIELDS = ['alias', 'client_id', 'secret', 'api_url', 'auth_url']

async function open(session: Session) {
  const config = await session.config()
  session.terminal.info(`Using config file ${config.path}`)
  return config
}

/** The two URLs of a new client: the API's, else the configured default; the token endpoint's, else the same. */
export function readUrls(api: string | undefined, auth: string | undefined, env: NodeJS.ProcessEnv) {
  const apiUrl = parseServiceUrl(api || env.BRIGHTBOX_API_URL || DEFAULT_API_URL, 'api-url').href
  const authUrl = auth ? parseServiceUrl(auth, 'auth-url').href : apiUrl
  return { api_url: apiUrl.replace(/\/$/, ''), auth_url: authUrl.replace(/\/$/, '') }
}

/** Becomes part of file names and of a section header. */
export function checkAlias(alias: string): string {
  if (/^[^[\]/\s;=]+$/.test(alias) && alias !== 'core') return alias
  throw new CommandError(`alias must be one word without / [ ] ; = and not core`)
}

function checkClientId(id: string | undefined, prefix: string): string {
  if (!id) throw new CommandError('You must specify the client-id')
  if (new RegExp(`^${prefix}-.{5}$`).test(id)) return id
  throw new CommandError(`The client-id '${id}' must match the format ${prefix}-xxxxx`)
}

function checkSecret(secret: string | undefined): string {
  if (!secret) throw new CommandError('You must specify the client secret')
  return secret
}

/** `client_add CLIENT_ID SECRET [API_URL [AUTH_URL]]` */
export async function clientAdd(session: Session, args: readonly string[], options: Options) {
  await open(session)
  const clientId = checkClientId(args[0], 'cli')
  const secret = checkSecret(args[1])
  const urls = readUrls(args[2], args[3], process.env)
  const section = checkAlias(options.alias ?? clientId)
  await addClient(session, { section, values: { client_id: clientId, secret, ...urls }, replace: false })
}

/** `user_add EMAIL APP_ID SECRET [API_URL [AUTH_URL]]` */
export async function userAdd(session: Session, args: readonly string[], options: Options) {
  await open(session)
  const [email] = args
  if (!email) throw new CommandError("You must specify your user's email address")
  const clientId = checkClientId(args[1], 'app')
  const secret = checkSecret(args[2])
  const urls = readUrls(args[3], args[4], process.env)
  const section = checkAlias(options.alias ?? email)
  const password = options.password || (await session.terminal.askSecret('Enter your password : '))
  if (password === '') throw new CommandError('You must specify your Brightbox password.')
  const values = { client_id: clientId, username: email, secret, ...urls }
  await addClient(session, { section, values, password, replace: false })
}

export async function clientList(session: Session, args: readonly string[]) {
  if (args.length > 0) {
    throw new CommandError(`Unknown command '${args[0]}'`, { hint: 'brightbox config --help lists them' })
  }
  const config = await open(session)
  const { sections, defaultSection } = config
  const rows = sections.map((section) => {
    const get = (key: string) => config.file.get(section, key) || undefined
    const star = sections.length > 1 && section === defaultSection ? '*' : ''
    return {
      alias: `${star}${get('alias') ?? section}`,
      client_id: get('client_id') ?? BUILT_IN_APPLICATION.id,
      secret: get('secret') ?? BUILT_IN_APPLICATION.secret,
      api_url: get('api_url'),
      auth_url: get('auth_url') ?? get('api_url'),
    }
  })
  const data = rows.map((row, index) => ({
    ...row,
    alias: row.alias.replace(/^\*/, ''),
    default: sections[index] === defaultSection,
  }))
  session.printRows(LIST_FIELDS, rows, data)
}

async function named(session: Session, alias: string | undefined, purpose: string) {
  const config = await open(session)
  if (!alias) throw new CommandError(`You must specify the api alias you want to ${purpose}`)
  const section = findSection(config, alias)
  if (section !== undefined) return { config, section, alias }
  throw new CommandError(`An api client with the alias ${alias} does not exist in the config`, {
    hint: 'brightbox config client_list shows those there are',
  })
}

export async function clientDefault(session: Session, args: readonly string[]) {
  const { config, section, alias } = await named(session, args[0], 'set as the default')
  session.terminal.info(`Setting ${alias} as default api client`)
  config.file.set('core', 'default_client', section)
  await config.save()
  if (session.options.json) session.printJson({ alias, default: true })
}

export async function clientRemove(session: Session, args: readonly string[]) {
  const { config, section, alias } = await named(session, args[0], 'remove')
  session.terminal.info(`Removing api client ${alias}`)
  if (config.defaultSection === section) config.file.delete('core', 'default_client')
  config.file.delete(section)
  await config.save()
  await config.dropTokens(section)
  if (session.options.json) session.printJson({ alias, removed: true })
}
