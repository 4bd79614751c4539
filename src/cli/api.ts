import type { IncomingHttpHeaders } from 'node:http'
import { ANSWERS } from '#base/answer-names.ts'
import type { Client } from './client-config.ts'
import { ApiError, CommandError } from './failure.ts'
import { ConnectionError, type Http, type HttpRequest, type HttpResponse } from './http.ts'
import type { WithToken } from './tokens.ts'

export interface Call {
  /** What this is about, as in `register image`; begins every error. */
  readonly attempt: string
  readonly body?: unknown
  /** Whether `account_id` goes with it, as it does for all that belongs to an account. */
  readonly scoped?: boolean
  readonly query?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface RawCall extends Call {
  readonly headers?: Readonly<Record<string, string>>
  readonly send?: HttpRequest['send']
  readonly idleMs?: number
}

/** The library's API as one account sees it. */
export interface Api {
  /** Where it is. */
  readonly url: URL
  get<T>(path: string, call: Call): Promise<T>
  post<T>(path: string, call: Call): Promise<T>
  put<T>(path: string, call: Call): Promise<T>
  delete<T>(path: string, call: Call): Promise<T>
  /** Any answer below 400, its body unread; above, an ApiError. */
  raw(method: string, path: string, call: RawCall): Promise<HttpResponse>
}

export interface ApiDeps {
  readonly client: Client
  readonly http: Http
  readonly withToken: WithToken
  readonly account: string | undefined
  readonly userAgent: string
  /** Ends every call that has no signal of its own. */
  readonly signal: AbortSignal
}

const INVALID_ANSWER_HINT = 'is api_url really the address of an image library?'

export function createApi(deps: ApiDeps): Api {
  const { client, http, withToken, userAgent } = deps

  async function send(method: string, path: string, call: RawCall, token: string): Promise<HttpResponse> {
    const isBodiless = call.send !== undefined || method === 'GET' || method === 'HEAD'
    return http.request({
      method,
      url: urlOf(deps, path, call),
      headers: {
        'User-Agent': userAgent,
        Accept: 'application/json',
        Authorization: `Bearer ${token}`,
        'Content-Type': 'application/json',
        ...call.headers,
      },
      ...(isBodiless ? {} : { body: call.body === undefined ? '' : JSON.stringify(call.body) }),
      ...(call.send ? { send: call.send } : {}),
      signal: call.signal ?? deps.signal,
      ...(call.idleMs === undefined ? {} : { idleMs: call.idleMs }),
    })
  }

  const raw = (method: string, path: string, call: RawCall): Promise<HttpResponse> =>
    naming(call.attempt, async () => {
      const response = await withToken((token) => send(method, path, call, token))
      if (response.status >= 400) throw toApiError(call.attempt, response.status, await http.text(response))
      return response
    })

  const json = <T>(method: string, path: string, call: Call): Promise<T> =>
    naming(call.attempt, async () => {
      const response = await raw(method, path, call)
      return parseAnswer<T>(response, await http.text(response), `${call.attempt}: ${client.apiUrl.origin}`)
    })

  return {
    url: client.apiUrl,
    get: (path, call) => json('GET', path, call),
    post: (path, call) => json('POST', path, call),
    put: (path, call) => json('PUT', path, call),
    delete: (path, call) => json('DELETE', path, call),
    raw,
  }
}

/** Says what was attempted when a connection fails. */
export async function naming<T>(attempt: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error
    throw new ConnectionAttemptError(attempt, error)
  }
}

function urlOf({ client, account }: ApiDeps, path: string, { scoped = true, query = {} }: Call): URL {
  const url = new URL(`/1.0/${path}`, client.apiUrl)
  const selected = account ?? client.defaultAccount
  if (scoped && selected) url.searchParams.set('account_id', selected)
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  return url
}

function toApiError(attempt: string, status: number, text: string): ApiError {
  return new ApiError(attempt, { status, ...parseReason(status, text) })
}

/** @param where what was attempted and who answered, for the message */
function parseAnswer<T>({ status, headers }: HttpResponse, text: string, where: string): T {
  if (status < 300 && isJson(headers)) {
    try {
      return JSON.parse(text) as T
    } catch {
      // Said below, as for any other answer that is not what it should be.
    }
  }
  throw new CommandError(`${where} did not answer with JSON`, { hint: INVALID_ANSWER_HINT })
}

const isJson = (headers: IncomingHttpHeaders): boolean =>
  /^application\/([\w.-]+\+)?json\b/.test(headers['content-type'] ?? '')

/** The connection failed while something was attempted; may be tried again. */
export class ConnectionAttemptError extends CommandError {
  constructor(attempt: string, error: ConnectionError) {
    super(`${attempt}: ${error.message}`, { cause: error, ...(error.hint ? { hint: error.hint } : {}) })
    this.name = 'ConnectionAttemptError'
  }
}

/** The sentences of `errors`, else `error_description`, `error` or `error_name`, else what the status means. */
function parseReason(status: number, text: string): { reason: string; hint: string | undefined } {
  let body: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) body = parsed as Record<string, unknown>
  } catch {
    // Not JSON: the status has to do.
  }
  const errors = Array.isArray(body.errors) ? body.errors.filter((entry) => typeof entry === 'string') : []
  const words = [
    errors.join(' '),
    body.error_description,
    body.error,
    body.error_name,
    status === 503 && BUSY,
  ]
  const reason = words.find((word): word is string => typeof word === 'string' && word !== '')
  return {
    reason: reason ?? `the library answered HTTP ${status}`,
    hint: typeof body.hint === 'string' ? body.hint : STATUS_HINTS[reason === undefined ? 'other' : status],
  }
}

const BUSY = 'Api currently unavailable'
const STATUS_HINTS: Readonly<Record<number | 'other', string>> = {
  other: INVALID_ANSWER_HINT,
  403: `this client may not do that: ${ANSWERS.forbidden.next}`,
  503: ANSWERS.unavailable.next,
}
