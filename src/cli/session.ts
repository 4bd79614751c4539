import { type Api, createApi } from './api.ts'
import {
  type Client,
  type ClientConfig,
  chooseSection,
  configPath,
  openClientConfig,
  readClient,
} from './client-config.ts'
import { createHttp, type Http } from './http.ts'
import { createOrbit, type Orbit } from './orbit.ts'
import { type Cell, printShow, printSimple, printSimpleShow, printTable, type Row } from './table.ts'
import type { Terminal } from './terminal.ts'
import { createTokens, createWithToken, type Tokens } from './tokens.ts'

/** What may stand before or after any command. */
export interface GlobalOptions {
  readonly simple?: boolean
  readonly client?: string
  readonly account?: string
  readonly insecure?: boolean
  readonly json?: boolean
  readonly debug?: boolean
  readonly config?: string
}

export interface Connection {
  readonly client: Client
  readonly api: Api
  readonly tokens: Tokens
  /** The account's objects. */
  orbit(): Promise<Orbit>
}

export type ShownRecord = readonly (readonly [string, Cell])[]

/** Everything a command works with. */
export interface Session {
  readonly options: GlobalOptions
  readonly terminal: Terminal
  readonly http: Http
  /** Ends when the person at the terminal presses Ctrl-C. */
  readonly signal: AbortSignal
  /** The first pause before a broken transfer is taken up again, milliseconds; it doubles while nothing comes. */
  readonly retryMs: number
  config(): Promise<ClientConfig>
  /** Opens the API as the chosen client, or as `section`. */
  connect(how?: { section?: string; password?: string | undefined }): Promise<Connection>
  /**
   * Prints rows as a table, or as `--simple` or `--json` ask. `data` is what `--json` prints; a `whole` table is not
   * cut to the terminal's width.
   */
  printRows(fields: readonly string[], rows: readonly Row[], data: unknown, how?: { whole?: boolean }): void
  /** Prints records one value a line. */
  printRecords(records: readonly ShownRecord[], data: unknown): void
  printJson(data: unknown): void
}

const RETRY_MS = 250

export interface SessionDeps {
  readonly options: GlobalOptions
  readonly terminal: Terminal
  readonly env: NodeJS.ProcessEnv
  readonly version: string
  readonly signal: AbortSignal
}

export function createSession({ options, terminal, env, version, signal }: SessionDeps): Session {
  const http = createHttp({
    insecure: options.insecure === true || Boolean(env.INSECURE),
    debug: options.debug === true || env.DEBUG ? (line) => terminal.info(`DEBUG: ${line}`) : () => {},
  })
  let config: Promise<ClientConfig> | undefined
  const session: Session = {
    options,
    terminal,
    http,
    signal,
    retryMs: Number(env.BRIGHTBOX_RETRY_MS) || RETRY_MS,
    config() {
      config ??= openClientConfig(configPath(options.config, env))
      return config
    },
    async connect(how = {}) {
      const config = await session.config()
      const section = how.section ?? chooseSection(config, env.CLIENT || options.client)
      const client = readClient(config, section)
      const tokens = createTokens({ client, config, http, terminal, password: how.password })
      const account = env.ACCOUNT || options.account
      const shared = { client, http, withToken: createWithToken({ http, tokens }), signal }
      const agent = { account, userAgent: `brightbox/${version}` }
      const api = createApi({ ...shared, ...agent })
      const orbit = () => createOrbit({ ...shared, ...agent, api })
      return { client, api, tokens, orbit }
    },
    printRows(fields, rows, data, { whole = false } = {}) {
      if (options.json) return session.printJson(data)
      if (options.simple) return terminal.out(printSimple(fields, rows))
      const { text, warning } = printTable(fields, rows, whole ? Number.POSITIVE_INFINITY : terminal.width)
      if (warning !== undefined) terminal.info(warning)
      terminal.out(text)
    },
    printRecords(records, data) {
      if (options.json) return session.printJson(data)
      terminal.out(options.simple ? printSimpleShow(records) : printShow(records))
    },
    printJson: (data) => terminal.out(`${JSON.stringify(data, null, 2)}\n`),
  }
  return session
}
