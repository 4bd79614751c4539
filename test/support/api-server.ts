import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { Ledger } from '#base/ledger.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { createAuth } from '#control/auth/create-auth.ts'
import { createJobQueue } from '#control/jobs/queue.ts'
import { createLibrary } from '#control/library/create-library.ts'
import { createUploadSeats } from '#control/library/upload-seats.ts'
import type { Ingest, IngestResult } from '#data/disk/ingest-types.ts'
import { parseSourceUrl, redactUrl } from '#data/source/source-url.ts'
import { memoryStore } from '#data/store/memory.ts'
import { createReserve } from '#data/store/reserve.ts'
import { addApi } from '#edge/api/api.ts'
import type { ApiDeps } from '#edge/api/api-deps.ts'
import { createApp } from '#edge/http/app.ts'
import type { ImageJson } from '#schema/image.ts'
import { openTestCatalog } from './catalogs.ts'
import { createFakeServers } from './fake-servers.ts'
import { MemoryContents } from './memory-contents.ts'

export const MANIFEST = 'ab'.repeat(32)

export const INGESTED: IngestResult = {
  manifest: MANIFEST,
  virtualSize: 2 * 1024 ** 3,
  dataSize: 512 * 1024 ** 2 + 1,
  addedSize: 1,
  formatChain: 'xz+raw',
  notes: [],
  source: {
    url: 'http://example.com/disk.img.xz',
    finalUrl: 'http://mirror.example.com/disk.img.xz',
    bytes: 1000,
    sha256: 'cd'.repeat(32),
    etag: '"e"',
    lastModified: undefined,
  },
}

export interface ApiServerOptions {
  /** Stands for the data plane; by default every source is the same image. */
  readonly ingest?: Ingest
  readonly openForm?: ApiDeps['openForm']
  /** By default one fake server. */
  readonly servers?: ApiDeps['servers']
  readonly sshAddress?: string
  readonly now?: () => number
  /** Longest time without a byte of a body. */
  readonly silenceMs?: number
  /** Told every line of the log. */
  readonly onLog?: (line: string) => void
}

/** The API over the real control plane on an empty catalog, listening, with an account and a client. */
export async function startApi(options: ApiServerOptions = {}) {
  const { now = Date.now, ingest = async () => INGESTED } = options
  const log = options.onLog ? pino({ level: 'info' }, { write: options.onLog }) : pino({ level: 'silent' })
  const folder = await mkdtemp(join(tmpdir(), 'api-server-'))
  const closing = new AsyncDisposableStack()
  closing.defer(() => rm(folder, { recursive: true, force: true }))
  const catalog = closing.use(await openTestCatalog())
  const generations = memoryStore()
  const contents = new MemoryContents()
  const jobs = closing.use(
    createJobQueue({ catalog, owner: 'test', now, generations, random: randomBytes, log }),
  )
  const auth = createAuth({ catalog, now })
  const library = closing.use(
    createLibrary({
      catalog,
      jobs,
      ingest,
      parseSourceUrl,
      redactUrl,
      findObject: async () => undefined,
      joinParts: async () => undefined,
      openEditor: (base, options) => contents.openEditor(base, options),
      seats: createUploadSeats(512),
      limits: DEFAULT_LIMITS,
      allowSource: [],
      registrations: { concurrency: 4, perAccount: 4 },
      uploadsPerAccount: 8,
      quota: undefined,
      uploadFolder: join(folder, 'uploads'),
      reserve: createReserve({ directory: folder, bytes: 0 }),
      promised: new Ledger(),
      generations,
      holder: 'test',
      now,
      log,
    }),
  )
  const stopping = new AbortController()
  const app = await createApp({
    logger: log,
    ...(options.silenceMs === undefined ? {} : { silenceMs: options.silenceMs }),
  })
  await addApi(app, {
    version: '0.0.0',
    auth,
    library,
    servers: options.servers ?? createFakeServers(),
    sshAddress: options.sshAddress ?? '127.0.0.1',
    openForm: options.openForm ?? (() => Promise.reject(new Error('there are no bytes in this test'))),
    stopping: stopping.signal,
    heartbeatMs: 1000,
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  closing.defer(() => app.close())
  closing.defer(() => stopping.abort())
  await library.start()
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const addClient = () => makeClient(url, auth)
  return {
    url,
    app,
    auth,
    library,
    contents,
    jobs,
    ...(await addClient()),
    addClient,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}

export interface Answer<T> {
  readonly status: number
  readonly headers: Headers
  readonly body: T
}

export type Call = <T = ImageJson>(
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer<T>>

/** A new account with one client of it, and a way to call as that client does. */
async function makeClient(url: string, auth: Awaited<ReturnType<typeof createAuth>>) {
  const account = await auth.operator.createAccount({ name: 'Test' })
  const { client, secret } = await auth.operator.createClient(account.id, {
    name: 'tests',
    permissions: 'full',
  })
  const token = await fetchToken(url, client.id, secret)
  return { account, client, secret, token, call: callerOf(url, token) }
}

/** Calls as the Ruby client does: JSON announced on every call, also where there is none. */
export function callerOf(url: string, token: string): Call {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
  }
}

export const basic = (id: string, secret: string) =>
  `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`

export async function fetchToken(url: string, id: string, secret: string): Promise<string> {
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { authorization: basic(id, secret), 'content-type': 'application/json' },
    body: '{"grant_type":"client_credentials"}',
  })
  return ((await response.json()) as { access_token: string }).access_token
}
