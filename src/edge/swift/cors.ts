import { type Exchange, type Headers, headerOf } from './exchange.ts'
import { sendEmpty, sendUnauthorized } from './reply.ts'

/** What pages from elsewhere may read of every answer, beside metadata and what the container names. */
const EXPOSED = [
  'cache-control',
  'content-language',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
  'etag',
  'x-timestamp',
  'x-trans-id',
  'x-openstack-request-id',
]

/** What a container lets pages from elsewhere do. */
interface Policy {
  readonly origins: readonly string[]
  /** Seconds, as the owner wrote it. */
  readonly maxAge: string | undefined
  readonly exposed: readonly string[]
}

async function readPolicy({ deps, path: { account, container } }: Exchange): Promise<Policy> {
  const facts =
    container === undefined ? undefined : await deps.orbit.containers.facts({ account, container })
  const wordsOf = (name: string) =>
    (facts?.metadata[`access-control-${name}`] ?? '').split(' ').filter((word) => word !== '')
  return {
    origins: wordsOf('allow-origin'),
    maxAge: facts?.metadata['access-control-max-age'],
    exposed: wordsOf('expose-headers').map((name) => name.toLowerCase()),
  }
}

const allows = ({ origins }: Policy, origin: string): boolean =>
  origins.includes('*') || origins.includes(origin)

/** An answer that depends on who asks says so, or a cache would give it to others. */
function allowOrigin({ origins }: Policy, origin: string, headers: Headers): void {
  const isForAll = origins.length === 1 && origins[0] === '*'
  headers['Access-Control-Allow-Origin'] = isForAll ? '*' : origin
  if (!isForAll) addVary(headers, 'Origin')
}

function addVary(headers: Headers, name: string): void {
  headers.Vary = headers.Vary === undefined ? name : `${headers.Vary}, ${name}`
}

/**
 * Answers OPTIONS with an Origin: what a browser asks before it sends what a page wants to send.
 * @param allow the methods of what the address names, as the header Allow lists them
 */
export async function answerPreflight(exchange: Exchange, allow: string): Promise<void> {
  const headers: Headers = { Allow: allow }
  if (exchange.path.container === undefined) return sendEmpty(exchange, 200, headers)
  const origin = headerOf(exchange, 'origin') ?? ''
  const method = headerOf(exchange, 'access-control-request-method') ?? ''
  const policy = await readPolicy(exchange)
  if (!allows(policy, origin) || !allow.split(', ').includes(method))
    return sendUnauthorized(exchange, headers)
  allowOrigin(policy, origin, headers)
  if (policy.maxAge !== undefined) headers['Access-Control-Max-Age'] = policy.maxAge
  headers['Access-Control-Allow-Methods'] = allow
  const wanted = (headerOf(exchange, 'access-control-request-headers') ?? '').split(',')
  const names = [...new Set(wanted.map((name) => name.trim()).filter(Boolean))]
  if (names.length > 0) {
    headers['Access-Control-Allow-Headers'] = names.join(', ')
    addVary(headers, 'Access-Control-Request-Headers')
  }
  sendEmpty(exchange, 200, headers)
}

/** Lets a page of an origin that the container allows read the answer, whatever it will be; others get it bare. */
export async function prepareCors(exchange: Exchange): Promise<void> {
  const origin = headerOf(exchange, 'origin') ?? ''
  const policy = await readPolicy(exchange)
  if (!allows(policy, origin)) return
  exchange.finishers.push((headers) => {
    const metadata = Object.keys(headers)
      .map((name) => name.toLowerCase())
      .filter((name) => /^x-(?:container|object)-meta/.test(name))
    const exposed = new Set([...EXPOSED, ...metadata, ...policy.exposed])
    headers['Access-Control-Expose-Headers'] = [...exposed].join(', ')
    allowOrigin(policy, origin, headers)
  })
}
