import type { Client, ClientConfig } from './client-config.ts'
import { CommandError, EXIT } from './failure.ts'
import type { Http, HttpResponse } from './http.ts'
import type { Terminal } from './terminal.ts'

/** What `/token` answers; the names are those of OAuth 2. */
export interface TokenAnswer {
  readonly access_token: string
  readonly token_type: string
  readonly refresh_token?: string
  readonly expires_in?: number
}

/** `/token` refused the credentials. */
export class CredentialsRefused extends CommandError {
  readonly status: number

  constructor(status: number) {
    // What the official client says; with status 400 it claims success afterwards, which we do not.
    super(
      status === 400 ? 'ERROR: Unable to reauthenticate!' : 'Unable to authenticate with supplied details',
      {
        bare: true,
        exitCode: EXIT.unauthenticated,
        hint: 'check client_id and secret (brightbox config client_list), or log in again',
      },
    )
    this.status = status
  }
}

export interface TokensDeps {
  readonly client: Client
  readonly config: ClientConfig
  readonly http: Http
  readonly terminal: Pick<Terminal, 'askSecret'>
  /** A password that the command line gave. */
  readonly password?: string | undefined
}

export interface Tokens {
  /** The token kept from an earlier command. */
  cached(): Promise<string | undefined>
  /** Gets a new token and keeps it. @throws CredentialsRefused */
  renew(): Promise<TokenAnswer>
}

type Grant = Readonly<Record<string, string>>

export function createTokens(deps: TokensDeps): Tokens {
  const { client, config } = deps
  const keep = async (answer: TokenAnswer) => {
    await config.writeToken(client.section, 'oauth_token', answer.access_token)
    if (answer.refresh_token) {
      await config.writeToken(client.section, 'refresh_token', answer.refresh_token)
    }
    return answer
  }
  return {
    cached: () => config.readToken(client.section, 'oauth_token'),
    async renew() {
      if (!client.isUser) return keep(await askToken(deps, { grant_type: 'client_credentials' }))
      const refresh = await config.readToken(client.section, 'refresh_token')
      if (refresh !== undefined && deps.password === undefined) {
        try {
          return await keep(await askToken(deps, { grant_type: 'refresh_token', refresh_token: refresh }))
        } catch (error) {
          if (!(error instanceof CredentialsRefused)) throw error
        }
      }
      const username = client.username ?? ''
      const password = deps.password ?? (await findPassword(deps))
      return keep(await askToken(deps, { grant_type: 'password', username, password }))
    },
  }
}

async function findPassword({ client, terminal }: TokensDeps): Promise<string> {
  if (client.passwordHelper) return firstLineOf(client.passwordHelper, 'password_helper_command')
  const password = await terminal.askSecret('Enter your password : ')
  if (password === '') {
    throw new CommandError('You must specify your Brightbox password.', {
      hint: `brightbox login ${client.username ?? 'EMAIL'} logs in again`,
    })
  }
  return password
}

async function askToken(deps: TokensDeps, grant: Grant, pin?: string): Promise<TokenAnswer> {
  const { client, http, terminal } = deps
  const response = await http.request({
    method: 'POST',
    url: new URL('/token', client.authUrl),
    headers: {
      Authorization: `Basic ${Buffer.from(`${client.clientId}:${client.secret}`).toString('base64')}`,
      'Content-Type': 'application/json',
      ...(pin === undefined ? {} : { 'X-Brightbox-OTP': pin }),
    },
    body: JSON.stringify(grant),
  })
  const text = await http.text(response)
  if (response.status === 401 && response.headers['x-brightbox-otp'] === 'required' && pin === undefined) {
    const asked = client.pinHelper
      ? await firstLineOf(client.pinHelper, 'two_factor_helper_command')
      : await terminal.askSecret('Enter your two factor pin : ')
    return askToken(deps, grant, asked)
  }
  if (response.status === 400 || response.status === 401) throw new CredentialsRefused(response.status)
  return parseToken(response.status, text, client.authUrl)
}

function parseToken(status: number, text: string, authUrl: URL): TokenAnswer {
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch {
    answer = null
  }
  if (status === 200 && typeof answer === 'object' && answer !== null && 'access_token' in answer) {
    if (typeof answer.access_token === 'string') return answer as TokenAnswer
  }
  throw new CommandError(`get a token from ${authUrl.origin}: unexpected answer (HTTP ${status})`, {
    hint: 'is auth_url (or api_url) really the address of an image library?',
  })
}

/** Runs a helper program of the configuration and takes the first line that it prints. */
async function firstLineOf(command: string, name: string): Promise<string> {
  const { execFile } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    execFile('/bin/sh', ['-c', command], (error, stdout) => {
      if (error) reject(new CommandError(`run ${name}: it failed`, { cause: error }))
      else resolve(stdout.split(/\r?\n/)[0] ?? '')
    })
  })
}

/** Sends a request with a token; a 401 is answered once with a new token and the same request again. */
export type WithToken = (send: (token: string) => Promise<HttpResponse>) => Promise<HttpResponse>

/** One token for everything that a command sends. */
export function createWithToken({ http, tokens }: { http: Http; tokens: Tokens }): WithToken {
  let token: string | undefined
  return async (send) => {
    token ??= (await tokens.cached()) ?? (await tokens.renew()).access_token
    let response = await send(token)
    if (response.status === 401) {
      await http.text(response)
      token = (await tokens.renew()).access_token
      response = await send(token)
    }
    if (response.status === 401) throw stillRefused()
    return response
  }
}

const stillRefused = () =>
  new CommandError('Your API credentials have been updated, please re-run your command.', {
    bare: true,
    exitCode: EXIT.reauthenticated,
    hint: 'the library refused a token that it had just issued; is its clock right?',
  })
