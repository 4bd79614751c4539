import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type ConfigFile, readConfig, writePrivate } from './config-file.ts'
import { CommandError } from './failure.ts'

export const DEFAULT_API_URL = 'https://api.gb1.brightbox.com'
/** Where that service keeps its objects; an image library answers for both at one address. */
const DEFAULT_ORBIT_URL = 'https://orbit.brightbox.com'
/** What the official client logs users in with when its configuration names no application. */
export const BUILT_IN_APPLICATION = { id: 'app-12345', secret: 'mocbuipbiaa6k6c' } as const

/** More ids than this are not remembered for shell completion from one listing. */
const MAX_CACHED_IDS = 200

/** One section of the configuration: who we are to which library. */
export interface Client {
  readonly section: string
  readonly clientId: string
  readonly secret: string
  /** True for a user's login, false for an API client. */
  readonly isUser: boolean
  readonly username: string | undefined
  readonly apiUrl: URL
  readonly authUrl: URL
  /** Where objects are: scheme and host. */
  readonly orbitUrl: URL
  readonly defaultAccount: string | undefined
  readonly passwordHelper: string | undefined
  readonly pinHelper: string | undefined
}

export type TokenKind = 'oauth_token' | 'refresh_token'

/** The configuration and the files beside it: tokens by section, ids seen for shell completion. */
export interface ClientConfig {
  readonly path: string
  readonly file: ConfigFile
  /** Every section but `core`. */
  readonly sections: string[]
  readonly defaultSection: string | undefined
  save(): Promise<void>
  readToken(section: string, kind: TokenKind): Promise<string | undefined>
  writeToken(section: string, kind: TokenKind, token: string): Promise<void>
  dropTokens(section: string): Promise<void>
  cachedIds(prefix: string): Promise<string[]>
  cacheIds(ids: readonly string[]): Promise<void>
}

/** `--config`, else BRIGHTBOX_CONFIG, else `~/.brightbox/config`; without HOME, `.brightbox` where we are. */
export function configPath(wanted: string | undefined, env: NodeJS.ProcessEnv): string {
  return wanted || env.BRIGHTBOX_CONFIG || join(env.HOME ?? '', '.brightbox', 'config')
}

export async function openClientConfig(path: string): Promise<ClientConfig> {
  const file = await readConfig(path)
  const folder = dirname(path)
  const tokenPath = (section: string, kind: TokenKind) =>
    join(folder, `${section.replaceAll('/', '_')}.${kind}`)
  return {
    path,
    file,
    get sections() {
      return file.sections.filter((section) => section !== 'core')
    },
    get defaultSection() {
      return file.get('core', 'default_client') || undefined
    },
    save: () => writePrivate(path, file.toString()),
    async readToken(section, kind) {
      const text = await readFile(tokenPath(section, kind), 'utf8').catch(() => '')
      return text.trim() || undefined
    },
    async writeToken(section, kind, token) {
      // A configuration in a folder that we may not write is usable: each command then gets its own token.
      await writePrivate(tokenPath(section, kind), token).catch(() => undefined)
    },
    async dropTokens(section) {
      for (const kind of ['oauth_token', 'refresh_token'] as const) {
        await rm(tokenPath(section, kind), { force: true })
      }
    },
    async cachedIds(prefix) {
      const names = await readdir(join(folder, 'cache')).catch(() => [])
      return names.filter((name) => name.startsWith(prefix)).sort()
    },
    async cacheIds(ids) {
      const known = ids.filter((id) => /^[a-z]{3}-[0-9a-z]{5}$/.test(id)).slice(0, MAX_CACHED_IDS)
      try {
        await mkdir(join(folder, 'cache'), { recursive: true })
        for (const id of known) await writeFile(join(folder, 'cache', id), '')
      } catch {
        // Completion is a comfort: a command never fails for it.
      }
    },
  }
}

const NO_CLIENT = 'You must specify a default client using brightbox config client_default'

/** Finds a section by its name or alias. */
export const findSection = (config: ClientConfig, name: string): string | undefined =>
  config.sections.find((section) => section === name || config.file.get(section, 'alias') === name)

/** The section that a command acts as: CLIENT, then `--client`, then the default, then the only one there is. */
export function chooseSection(config: ClientConfig, wanted: string | undefined): string {
  const name = wanted || config.defaultSection
  if (name) {
    const section = findSection(config, name)
    if (section !== undefined) return section
    throw new CommandError(`There is no client named ${name} in ${config.path}`, {
      hint: 'brightbox config client_list shows those there are',
    })
  }
  const [only, ...more] = config.sections
  if (only !== undefined && more.length === 0) return only
  const hint =
    only === undefined
      ? `${config.path} names no client: brightbox config client_add CLIENT_ID SECRET API_URL adds one`
      : `${config.path} has several clients: choose one with --client NAME`
  throw new CommandError(NO_CLIENT, { hint })
}

/** Checks a URL that a person typed; `name` is what the message calls it. */
export function parseServiceUrl(text: string, name: string): URL {
  const url = URL.parse(text)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CommandError(`${name} must be an http or https URL, such as http://127.0.0.1:8080`)
  }
  return url
}

const orbitUrlOf = (apiUrl: string): string =>
  apiUrl.startsWith(DEFAULT_API_URL) ? DEFAULT_ORBIT_URL : apiUrl

export function readClient(config: ClientConfig, section: string): Client {
  const get = (key: string) => config.file.get(section, key) || undefined
  const apiUrl = get('api_url')
  if (apiUrl === undefined) {
    throw new CommandError(`The client ${section} in ${config.path} has no api_url`, {
      hint: `add a line "api_url = http://HOST:PORT" to its section`,
    })
  }
  const clientId = get('client_id') ?? BUILT_IN_APPLICATION.id
  return {
    section,
    clientId,
    secret: get('secret') ?? BUILT_IN_APPLICATION.secret,
    // The official client leaves an empty "username" in sections of API clients; the id says what they are.
    isUser: !clientId.startsWith('cli-'),
    username: get('username'),
    apiUrl: parseServiceUrl(apiUrl, `api_url of client ${section}`),
    authUrl: parseServiceUrl(get('auth_url') ?? apiUrl, `auth_url of client ${section}`),
    orbitUrl: parseServiceUrl(get('orbit_url') ?? orbitUrlOf(apiUrl), `orbit_url of client ${section}`),
    defaultAccount: get('default_account'),
    passwordHelper: get('password_helper_command'),
    pinHelper: get('two_factor_helper_command'),
  }
}
