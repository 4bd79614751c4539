import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { createFakeServers, type FakeServers, sendFakeAnswer } from './fake-api-servers.ts'
import { createFakeOrbit, type FakeOrbit } from './fake-orbit.ts'
import type { Certificate } from './web-server.ts'

/** One request as it came in; `path` has its query. */
export interface FakeRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export type FakeAnswer = (request: FakeRequest, response: ServerResponse) => void | Promise<void>
/** An answer to requests whose body it wants to read by itself. */
export type RawAnswer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

export interface FakeApi extends AsyncDisposable {
  readonly url: string
  /** `GET /1.0/images?account_id=…`, with the body after it where there is one, in order. */
  readonly lines: string[]
  readonly requests: FakeRequest[]
  readonly images: Map<string, Record<string, unknown>>
  readonly servers: FakeServers['servers']
  readonly volumes: FakeServers['volumes']
  /** What answers below `/v1/`. */
  readonly orbit: FakeOrbit
  /** Answers the next requests for `GET /1.0/images` and the like, one answer each; the last one stays. */
  on(route: string, ...answers: FakeAnswer[]): void
  onRaw(route: string, answer: RawAnswer): void
}

/** What 401s carry is what the real service sends. */
export const unauthorized: FakeAnswer = (_request, response) =>
  json(response, 401, { error: 'invalid_token', error_description: 'The access token is not known' })

export const problem =
  (status: number, name: string, ...errors: string[]): FakeAnswer =>
  (_request, response) =>
    json(response, status, { error_name: name, errors })

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
}

export const answerJson =
  (body: unknown, status = 200): FakeAnswer =>
  (_request, response) =>
    json(response, status, body)

/** An image as the API prints it. */
export const fakeImage = (id: string, changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  id,
  resource_type: 'image',
  url: `http://127.0.0.1/1.0/images/${id}`,
  name: 'My upload',
  username: null,
  status: 'available',
  locked: false,
  description: null,
  source: null,
  source_trigger: 'manual',
  arch: 'x86_64',
  created_at: '2022-01-02T03:04:05.000Z',
  official: false,
  public: false,
  owner: 'acc-12345',
  source_type: 'upload',
  virtual_size: 2252,
  disk_size: 512,
  min_ram: null,
  compatibility_mode: false,
  licence_name: null,
  ancestor: null,
  updated_at: '2022-01-02T03:04:05.000Z',
  digest: null,
  progress: null,
  failure: null,
  damaged_at: null,
  source_info: null,
  ...changes,
})

const ACCOUNT = {
  id: 'acc-12345',
  resource_type: 'account',
  name: 'Example',
  status: 'active',
  cloud_ips_limit: 5,
  load_balancers_limit: 2,
  ram_limit: 4096,
  ram_used: 1024,
}

/** A library of which every answer can be changed: what a client sends to it is what is tested. */
export async function startFakeApi(tls?: Certificate): Promise<FakeApi> {
  const lines: string[] = []
  const requests: FakeRequest[] = []
  const images = new Map<string, Record<string, unknown>>()
  const answers = new Map<string, FakeAnswer[]>()
  const rawAnswers = new Map<string, RawAnswer>()
  const fakeServers = createFakeServers()
  const orbit = createFakeOrbit()

  const listener = (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response).catch((error) => response.destroy(error as Error))
  }
  const server = tls ? createTlsServer(tls, listener) : createServer(listener)

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    const route = `${request.method} ${path.replace(/\?.*/, '')}`
    const raw = rawAnswers.get(route)
    if (raw) {
      lines.push(`${request.method} ${path}`)
      return raw(request, response)
    }
    if (path.startsWith('/v1/')) return void (await orbit.handle(request, response))
    const body = (await buffer(request)).toString()
    const seen = { method: request.method ?? '', path, headers: request.headers, body }
    requests.push(seen)
    lines.push(`${request.method} ${path}${body ? ` ${body}` : ''}`)
    const queue = answers.get(route)
    const answer = queue && (queue.length > 1 ? queue.shift() : queue[0])
    return (answer ?? defaultAnswer(images, fakeServers))(seen, response)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lines,
    requests,
    images,
    servers: fakeServers.servers,
    volumes: fakeServers.volumes,
    orbit,
    on: (route, ...list) => void answers.set(route, list),
    onRaw: (route, answer) => void rawAnswers.set(route, answer),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const defaultAnswer =
  (images: Map<string, Record<string, unknown>>, servers: FakeServers): FakeAnswer =>
  (request, response) => {
    const path = request.path.replace(/\?.*/, '')
    if (path === '/token') return answerToken(request, response)
    if (!/^Bearer fresh/.test(request.headers.authorization ?? '')) return unauthorized(request, response)
    const [, id, action] = /^\/1\.0\/images\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? []
    if (id !== undefined) return answerImage(images, id, action, request, response)
    if (path === '/1.0/images' && request.method === 'POST') {
      const { http_url: _url, upload: _upload, checksum: _checksum, ...attributes } = JSON.parse(request.body)
      const image = fakeImage('img-8yeen', {
        ...attributes,
        status: 'creating',
        virtual_size: 0,
        disk_size: 0,
      })
      images.set('img-8yeen', { ...image, name: attributes.name ?? 'untitled' })
      return json(response, 201, images.get('img-8yeen'))
    }
    if (path === '/1.0/images') return json(response, 200, [...images.values()])
    if (path === '/1.0/account') return json(response, 200, ACCOUNT)
    if (path === '/1.0/accounts') return json(response, 200, [ACCOUNT])
    if (path === `/1.0/accounts/${ACCOUNT.id}`) return json(response, 200, ACCOUNT)
    if (path === '/1.0/user/collaborations') return json(response, 200, [])
    const answer = servers.answer(path, request, `http://${request.headers.host}`)
    return answer ? sendFakeAnswer(response, answer) : notFound(response)
  }

const notFound = (response: ServerResponse) =>
  json(response, 404, {
    error_name: 'missing_resource',
    errors: ['Resource not found using supplied identifier'],
  })

function answerToken(request: FakeRequest, response: ServerResponse): void {
  const { grant_type: grant } = JSON.parse(request.body) as { grant_type: string }
  const refresh = grant === 'client_credentials' ? {} : { refresh_token: 'refresh-2' }
  json(response, 200, { access_token: 'fresh-token', token_type: 'Bearer', ...refresh, expires_in: 7200 })
}

function answerImage(
  images: Map<string, Record<string, unknown>>,
  id: string,
  action: string | undefined,
  request: FakeRequest,
  response: ServerResponse,
): void {
  const image = images.get(id)
  if (!image) notFound(response)
  else changeImage(images, { id, image, action }, request, response)
}

function changeImage(
  images: Map<string, Record<string, unknown>>,
  { id, image, action }: { id: string; image: Record<string, unknown>; action: string | undefined },
  request: FakeRequest,
  response: ServerResponse,
): void {
  const change = (changes: object, status: number) => {
    images.set(id, { ...image, ...changes })
    json(response, status, images.get(id))
  }
  if (action === 'lock_resource') change({ locked: true }, 200)
  else if (action === 'unlock_resource') change({ locked: false }, 200)
  else if (request.method === 'PUT') change(JSON.parse(request.body) as object, 200)
  else if (request.method === 'DELETE') change({ status: 'deleting' }, 202)
  else json(response, 200, image)
}
