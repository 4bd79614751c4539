import { LibraryError } from '#base/errors.ts'
import type { Asker, FindObject, FoundObject } from '#control/library/deps.ts'
import { ANYBODY, type Caller, type ObjectPath } from '#model/orbit.ts'
import { type LocatedObject, type Orbit, OrbitRefusal } from './orbit.ts'

interface FinderDeps {
  readonly orbit: Pick<Orbit, 'objects' | 'tempUrls'>
  /** What we are reached at: hosts, with a port where it is none of the usual. */
  readonly hosts: () => Iterable<string>
}

/** Finds what a URL of our own Orbit opens: a temporary URL by its signature, another as anybody may read it. */
export function createObjectFinder({ orbit, hosts }: FinderDeps): FindObject {
  return async (text, asker) => {
    const url = URL.parse(text)
    if (!url || !/^https?:$/.test(url.protocol) || !isOwn(url.host, asker, hosts())) return undefined
    const path = readPath(text)
    if (path === undefined) return undefined
    const { account, container, object } = path.place
    if (!account || !container || !object) throw refused('names no object of Orbit')
    const caller = await callerOf(orbit, url.searchParams, { path: path.full, clientIp: asker?.ip ?? '' })
    return found(await locate(orbit, caller, { account, container, object }))
  }
}

const isOwn = (host: string, asker: Asker | undefined, hosts: Iterable<string>): boolean =>
  [...hosts, ...(asker ? [asker.host] : [])].includes(host)

/** The path as it was written, for `URL` takes dots out of it; undefined where it is not one of Orbit's. */
function readPath(text: string): { full: string; place: Partial<ObjectPath> } | undefined {
  const [, raw = ''] = /^\s*https?:\/\/[^/?#]*(\/v1\/[^?#]*)/i.exec(text) ?? []
  if (raw === '') return undefined
  let full: string
  try {
    full = decodeURIComponent(raw)
  } catch (cause) {
    throw refused('is not percent-encoded UTF-8', { cause })
  }
  const [, , account = '', container = '', ...rest] = full.split('/')
  return { full, place: { account, container, object: rest.join('/') } }
}

async function callerOf(
  orbit: Pick<Orbit, 'tempUrls'>,
  query: URLSearchParams,
  request: { readonly path: string; readonly clientIp: string },
): Promise<Caller> {
  const value = (name: string) => query.get(name) ?? undefined
  const [signature, expires] = [value('temp_url_sig'), value('temp_url_expires')]
  if (signature === undefined && expires === undefined) return ANYBODY
  const grant = await orbit.tempUrls.verify({
    ...request,
    method: 'GET',
    signature,
    expires,
    prefix: value('temp_url_prefix'),
    ipRange: value('temp_url_ip_range'),
  })
  if (grant) return { ...ANYBODY, grant }
  throw refused('has a signature that is wrong or has expired', {
    hint: 'Sign a new one for GET, with a key that the account or the container has now.',
  })
}

async function locate(
  orbit: Pick<Orbit, 'objects'>,
  caller: Caller,
  path: ObjectPath,
): Promise<LocatedObject> {
  try {
    return await orbit.objects.locate(caller, path)
  } catch (cause) {
    if (!(cause instanceof OrbitRefusal)) throw cause
    if (cause.kind === 'not_found') throw refused('names an object that does not exist', { cause })
    if (cause.kind === 'denied') {
      const hint = 'Use a temporary URL: brightbox orbit tempurl CONTAINER/NAME prints one.'
      throw refused('names an object that not everybody may read', { cause, hint })
    }
    throw refused(`names an object that cannot be read: ${cause.message}`, { cause })
  }
}

async function found(located: LocatedObject): Promise<FoundObject> {
  const { info } = located
  try {
    return {
      parts: located.parts.map((part) => {
        if (part.content) return part
        throw refused(`names an object that cannot be read: ${part.why}`)
      }),
      etag: `"${info.etag}"`,
      lastModified: new Date(Math.ceil(info.modifiedAt / 1e6) * 1000).toUTCString(),
      [Symbol.asyncDispose]: () => located[Symbol.asyncDispose](),
    }
  } catch (error) {
    await located[Symbol.asyncDispose]()
    throw error
  }
}

const refused = (rule: string, options: { cause?: unknown; hint?: string } = {}) =>
  new LibraryError('invalid', `http_url ${rule}`, options)
