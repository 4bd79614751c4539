import type { Api } from './api.ts'
import { naming } from './api.ts'
import type { Client } from './client-config.ts'
import { ApiError, CommandError } from './failure.ts'
import type { Http, HttpRequest, HttpResponse } from './http.ts'
import type { WithToken } from './tokens.ts'

/** A container, or an object in it; neither is the account itself. */
export interface Place {
  readonly container?: string
  readonly object?: string
}

export interface ObjectPlace {
  readonly container: string
  readonly object: string
}

export interface OrbitCall {
  /** What this is about, as in `list container backups`; begins every error. */
  readonly attempt: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly send?: HttpRequest['send']
}

/** Orbit as one account sees it. */
export interface Orbit {
  /** Scheme and host. */
  readonly origin: string
  /** `/v1/acc-xxxxx`. */
  readonly root: string
  readonly account: string
  /** Any answer below 400, its body unread; above, an ApiError. */
  raw(method: string, place: Place, call: OrbitCall): Promise<HttpResponse>
  /** The body as text. */
  text(method: string, place: Place, call: OrbitCall): Promise<string>
  /** The headers of a HEAD; undefined where it does not exist. */
  head(place: Place, attempt: string): Promise<HttpResponse['headers'] | undefined>
}

interface OrbitDeps {
  readonly client: Client
  readonly http: Http
  readonly withToken: WithToken
  readonly account: string | undefined
  readonly userAgent: string
  readonly signal: AbortSignal
  /** Asked which account is ours where nothing says it. */
  readonly api: Api
}

export async function createOrbit(deps: OrbitDeps): Promise<Orbit> {
  const { client, http, withToken, userAgent, signal, api } = deps
  const { origin } = client.orbitUrl
  const account = deps.account ?? client.defaultAccount ?? (await readOwnAccount(api))
  const root = `/v1/${encodeURIComponent(account)}`

  const raw = (method: string, place: Place, call: OrbitCall): Promise<HttpResponse> =>
    naming(call.attempt, async () => {
      const url = new URL(origin + root + pathOf(place))
      for (const [name, value] of Object.entries(call.query ?? {})) url.searchParams.set(name, value)
      const response = await withToken((token) =>
        http.request({
          method,
          url,
          headers: { 'User-Agent': userAgent, 'X-Auth-Token': token, ...call.headers },
          ...(call.send ? { send: call.send } : {}),
          ...(call.body === undefined ? withoutBody(method, call) : { body: call.body }),
          signal,
        }),
      )
      if (response.status < 400) return response
      throw toApiError(call.attempt, place, { status: response.status, text: await http.text(response) })
    })

  return {
    origin,
    root,
    account,
    raw,
    text: async (method, place, call) => {
      const response = await raw(method, place, call)
      return naming(call.attempt, () => http.text(response))
    },
    async head(place, attempt) {
      try {
        const response = await raw('HEAD', place, { attempt })
        response.body.resume()
        return response.headers
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return undefined
        throw error
      }
    },
  }
}

/** A PUT or POST without a body says so, or it counts as one of unknown length. */
const withoutBody = (method: string, call: OrbitCall) =>
  call.send === undefined && (method === 'PUT' || method === 'POST') ? { body: '' } : {}

async function readOwnAccount(api: Api): Promise<string> {
  const query = { nested: 'false' }
  return (await api.get<{ id: string }>('account', { attempt: 'read the account', query })).id
}

/**
 * The part of a URL's path that names a container or an object: `/backups/a%20b/c`.
 * @throws an error where a URL cannot name it
 */
export function pathOf({ container, object }: Place): string {
  if (container === undefined) return ''
  const segments = [container, ...(object === undefined ? [] : object.split('/'))]
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new CommandError(`${segments.join('/')}: a URL cannot name . or .. between slashes`)
  }
  return segments.map((segment) => `/${encodeURIComponent(segment)}`).join('')
}

/** `backups/a/b` as people write it: up to the first slash the container, then the object. */
export function parsePlace(text: string): Place & { readonly container: string } {
  const slash = text.indexOf('/')
  const container = slash < 0 ? text : text.slice(0, slash)
  if (container === '') throw new CommandError(`'${text}' names no container`, { hint: NAME_HINT })
  const object = slash < 0 ? '' : text.slice(slash + 1)
  return object === '' ? { container } : { container, object }
}

/** @throws an error that says the rule, where no object is named */
export function parseObjectPlace(text: string | undefined): ObjectPlace {
  const { container, object } = parsePlace(text ?? '')
  if (object === undefined) throw new CommandError(`'${text}' names no object`, { hint: NAME_HINT })
  return { container, object }
}

const NAME_HINT = 'an object is named CONTAINER/NAME'

export const printPlace = ({ container = '', object }: Place): string =>
  object === undefined ? container : `${container}/${object}`

function toApiError(attempt: string, place: Place, answer: { status: number; text: string }): ApiError {
  const { status, text } = answer
  if (status === 404) {
    const reason = place.object === undefined ? 'there is no such container' : 'there is no such object'
    const hint =
      place.object === undefined
        ? 'brightbox orbit containers lists those there are'
        : `brightbox orbit ls ${place.container} lists those there are`
    return new ApiError(attempt, { status, reason, hint })
  }
  const plain = /<p>([^<]*)<\/p>/.exec(text)?.[1] ?? (/^\s*</.test(text) ? '' : text.split('\n')[0])
  const reason = plain?.trim() || `Orbit answered HTTP ${status}`
  return new ApiError(attempt, { status, reason: reason.replace(/\.$/, ''), hint: STATUS_HINTS[status] })
}

const STATUS_HINTS: Readonly<Record<number, string>> = {
  403: 'this client may not do that: check --account, the privileges of the API client, and the access lists',
  405: 'is orbit_url (or api_url) really the address of an Orbit?',
  412: 'is orbit_url (or api_url) really the address of an Orbit?',
  422: 'other bytes arrived than were sent: was the file changed meanwhile?',
  413: 'remove what is no longer needed, or ask the operator for a larger quota',
  503: 'try again in a moment',
}
