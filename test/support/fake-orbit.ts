import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'

export interface FakeObject {
  readonly bytes: Buffer
  readonly headers: Record<string, string>
  /** Of a static large object: paths of its segments. */
  readonly segments?: readonly string[]
}

export interface FakeContainer {
  readonly headers: Record<string, string>
  readonly objects: Map<string, FakeObject>
}

/** An Orbit in memory that can drop connections: what a client sends to it is what is tested. */
export interface FakeOrbit {
  readonly containers: Map<string, FakeContainer>
  readonly accountHeaders: Record<string, string>
  /** `PUT c/o`, `GET c/o bytes=5- etag`, in order. */
  readonly seen: string[]
  /** After so many bytes of the next bodies the connection is dropped; both ways. */
  readonly cuts: number[]
  handle(request: IncomingMessage, response: ServerResponse): Promise<unknown>
}

export const md5 = (bytes: Uint8Array | string): string => createHash('md5').update(bytes).digest('hex')

const KEPT = /^x-(?:object|container|account)-meta-|^x-delete-/

const keptOf = (request: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => KEPT.test(name)) as [string, string][],
  )

interface Asked {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly query: URLSearchParams
  readonly container: string
  readonly object: string
}

export function createFakeOrbit(): FakeOrbit {
  const containers = new Map<string, FakeContainer>()
  const accountHeaders: Record<string, string> = {}
  const seen: string[] = []
  const cuts: number[] = []
  const empty = (response: ServerResponse, status: number, headers = {}) =>
    void response.writeHead(status, { 'Content-Length': 0, ...headers }).end()
  const missing = (response: ServerResponse) =>
    void response
      .writeHead(404, { 'Content-Type': 'text/html' })
      .end('<html><h1>Not Found</h1><p>The resource could not be found.</p></html>')

  const bytesAt = (path: string) => {
    const [, name = '', object = ''] = /^\/([^/]+)\/(.*)$/s.exec(path) ?? []
    return containers.get(name)?.objects.get(object)
  }
  const contentOf = (object: FakeObject) =>
    object.segments === undefined
      ? object.bytes
      : Buffer.concat(object.segments.map((path) => bytesAt(path)?.bytes ?? Buffer.alloc(0)))
  const etagOf = (object: FakeObject) =>
    object.segments === undefined
      ? md5(object.bytes)
      : `"${md5(object.segments.map((path) => md5(bytesAt(path)?.bytes ?? '')).join(''))}"`

  function list({ response, query }: Asked, rows: Map<string, { row: object }>): void {
    const [prefix, marker] = [query.get('prefix') ?? '', query.get('marker') ?? '']
    const names = [...rows.keys()].filter((name) => name.startsWith(prefix) && name > marker).sort()
    // Two a page, so that clients have to ask for more.
    const page = names.slice(0, 2).map((name) => rows.get(name)?.row)
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(page))
  }

  const rowsOf = ({ objects }: FakeContainer) =>
    new Map(
      [...objects].map(([name, object]) => {
        const bytes = contentOf(object).length
        const row = { name, hash: md5(object.bytes), bytes, content_type: 'application/octet-stream' }
        const slo = object.segments === undefined ? {} : { slo_etag: etagOf(object) }
        return [name, { row: { ...row, last_modified: '2022-01-02T03:04:05.000000', ...slo } }] as const
      }),
    )

  function onAccount(asked: Asked): unknown {
    const { request, response } = asked
    if (request.method === 'GET') {
      const rows = [...containers].map(([name, { objects }]) => {
        const row = { name, count: objects.size, bytes: 7, last_modified: '2022-01-02T03:04:05.000000' }
        return [name, { row }] as const
      })
      return list(asked, new Map(rows))
    }
    if (request.method === 'POST') Object.assign(accountHeaders, keptOf(request))
    return empty(response, 204, accountHeaders)
  }

  function onContainer(asked: Asked): unknown {
    const { request, response, container: name } = asked
    const container = containers.get(name)
    if (request.method === 'PUT') {
      if (!container) containers.set(name, { headers: keptOf(request), objects: new Map() })
      return empty(response, 201)
    }
    if (!container) return missing(response)
    if (request.method === 'GET') return list(asked, rowsOf(container))
    if (request.method === 'POST') Object.assign(container.headers, keptOf(request))
    if (request.method === 'DELETE') {
      if (container.objects.size > 0) return empty(response, 409)
      containers.delete(name)
    }
    return empty(response, 204, container.headers)
  }

  async function put(
    { request, response, query, object }: Asked,
    container: FakeContainer,
  ): Promise<unknown> {
    const cut = Number(request.headers['content-length']) > 0 ? cuts.shift() : undefined
    if (cut !== undefined && cut >= 0) {
      const { socket } = request
      let count = 0
      for await (const chunk of request) {
        count += (chunk as Buffer).length
        if (count >= cut) break
      }
      return socket.destroy()
    }
    const bytes = await buffer(request)
    const headers = keptOf(request)
    const isManifest = query.get('multipart-manifest') === 'put'
    const made: FakeObject = isManifest
      ? {
          bytes,
          headers,
          segments: (JSON.parse(String(bytes)) as { path: string }[]).map(({ path }) => path),
        }
      : { bytes, headers }
    const etag = etagOf(made)
    if (request.headers.etag !== undefined && request.headers.etag !== etag.replaceAll('"', '')) {
      return response.writeHead(422).end('<html><p>Unable to process the contained instructions</p></html>')
    }
    container.objects.set(object, made)
    return empty(response, 201, { ETag: etag })
  }

  function get({ request, response, query }: Asked, object: FakeObject): unknown {
    if (query.get('multipart-manifest') === 'get') {
      return response.end(JSON.stringify(object.segments?.map((name) => ({ name }))))
    }
    const [content, etag] = [contentOf(object), etagOf(object)]
    const { range, 'if-match': ifMatch } = request.headers
    if (ifMatch !== undefined && ifMatch !== etag) return empty(response, 412)
    const offset = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
    const body = content.subarray(offset)
    response.writeHead(range ? 206 : 200, {
      ...object.headers,
      ETag: etag,
      'Content-Length': body.length,
      ...(object.segments === undefined ? {} : { 'X-Static-Large-Object': 'True' }),
      ...(range ? { 'Content-Range': `bytes ${offset}-${content.length - 1}/${content.length}` } : {}),
    })
    const cut = request.method === 'GET' ? cuts.shift() : undefined
    if (request.method === 'HEAD') return response.end()
    if (cut === undefined) return response.end(body)
    return response.write(body.subarray(0, cut), () => response.destroy())
  }

  async function onObject(asked: Asked): Promise<unknown> {
    const { request, response, query } = asked
    const container = containers.get(asked.container)
    if (!container) return missing(response)
    if (request.method === 'PUT') return put(asked, container)
    const object = container.objects.get(asked.object)
    if (!object) return missing(response)
    if (request.method !== 'DELETE') return get(asked, object)
    container.objects.delete(asked.object)
    if (query.get('multipart-manifest') !== 'delete') return empty(response, 204)
    for (const path of object.segments ?? []) {
      const [, name = '', segment = ''] = /^\/([^/]+)\/(.*)$/s.exec(path) ?? []
      containers.get(name)?.objects.delete(segment)
    }
    return response.end('{"Response Status": "200 OK", "Errors": []}')
  }

  return {
    containers,
    accountHeaders,
    seen,
    cuts,
    async handle(request, response) {
      const url = new URL(request.url ?? '', 'http://h')
      const [, container = '', object = ''] =
        /^\/v1\/acc-12345(?:\/([^/]+)(?:\/(.+))?)?$/.exec(url.pathname) ?? []
      const asked: Asked = {
        request,
        response,
        query: url.searchParams,
        container: decodeURIComponent(container),
        object: decodeURIComponent(object),
      }
      const { range, 'if-match': ifMatch } = request.headers
      const place = [asked.container, asked.object].filter(Boolean).join('/')
      seen.push([request.method, place, url.search.slice(1), range, ifMatch].filter(Boolean).join(' '))
      request.on('error', () => undefined)
      if (!/^fresh/.test(String(request.headers['x-auth-token']))) return empty(response, 401)
      if (container === '') return onAccount(asked)
      return object === '' ? onContainer(asked) : onObject(asked)
    },
  }
}
