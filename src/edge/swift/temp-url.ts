import type { Grant } from '#model/orbit.ts'
import type { Exchange, Headers } from './exchange.ts'
import { titleCase } from './metadata.ts'
import { encodePath } from './path.ts'
import { SwiftProblem } from './reply.ts'

const INVALID = '401 Unauthorized: Temp URL invalid\n'
/** A temporary URL may not be used to point at other objects. */
const FORBIDDEN = ['x-object-manifest', 'x-symlink-target']

/**
 * What a temporary URL opens, where the request is one; its answer gets the headers of one.
 * @throws SwiftProblem 401 where any of it is not right
 */
export async function grantOf(exchange: Exchange): Promise<Grant | undefined> {
  const { query, path, method, raw, deps } = exchange
  const signature = query.get('temp_url_sig')
  const expires = query.get('temp_url_expires')
  if ((!query.has('temp_url_sig') && !query.has('temp_url_expires')) || method === 'OPTIONS') return undefined
  const grant =
    signature && expires && path.object !== undefined
      ? await deps.orbit.tempUrls.verify({
          method,
          path: path.full,
          signature,
          expires,
          prefix: query.get('temp_url_prefix'),
          ipRange: query.get('temp_url_ip_range'),
          clientIp: raw.socket.remoteAddress ?? '',
        })
      : undefined
  if (!grant) throw invalidTempUrl(method)
  const forbidden = FORBIDDEN.find((name) => raw.headers[name] !== undefined)
  if (forbidden !== undefined && (method === 'PUT' || method === 'POST')) {
    throw new SwiftProblem(400, `The header '${titleCase(forbidden)}' is not allowed in this tempurl`)
  }
  if (method === 'GET' || method === 'HEAD') exchange.finishers.push(dress(exchange, expires ?? ''))
  return grant
}

/** What is answered to a temporary URL that opens nothing, whatever the reason. */
export function invalidTempUrl(method: string): SwiftProblem {
  const headers = { 'Www-Authenticate': 'Swift realm="unknown"' }
  return new SwiftProblem(401, method === 'HEAD' ? '' : INVALID, headers)
}

/** Makes the finisher for answers to temporary URLs: what to call the file, until when, and no metadata. */
function dress({ query, path }: Exchange, expires: string) {
  const name = query.get('filename')
  const isInline = query.has('inline')
  return (headers: Headers, status: number) => {
    for (const header of Object.keys(headers)) if (isPrivate(header)) delete headers[header]
    if (status < 200 || status > 299) return
    const stored = headers['Content-Disposition']
    if (isInline) headers['Content-Disposition'] = name ? `inline; ${fileName(name)}` : 'inline'
    else if (name) headers['Content-Disposition'] = `attachment; ${fileName(name)}`
    else if (stored === undefined) {
      const segments = (path.object ?? '').split('/').filter(Boolean)
      headers['Content-Disposition'] = `attachment; ${fileName(segments.at(-1) ?? '')}`
    }
    headers.Expires = expiryDate(expires)
  }
}

function isPrivate(header: string): boolean {
  const name = header.toLowerCase()
  return name.startsWith('x-object-meta-') && !name.startsWith('x-object-meta-public-')
}

/** RFC 6266, section 4.3: the plain form for old clients, and the one that can hold everything. */
function fileName(name: string): string {
  const encoded = encodePath(name)
  return `filename="${encoded.replaceAll('%20', ' ')}"; filename*=UTF-8''${encoded}`
}

/** @param expires seconds since 1970, or an ISO 8601 date; one that was verified */
function expiryDate(expires: string): string {
  const ms = /^\d+$/.test(expires) ? Number(expires) * 1000 : Date.parse(expires)
  return new Date(ms).toUTCString()
}
