import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { Ledger } from '#base/ledger.ts'
import type { Auth } from '#control/auth/auth.ts'
import { createAuth } from '#control/auth/create-auth.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import { createUploadSeats } from '#control/library/upload-seats.ts'
import { createClock } from '#control/orbit/clock.ts'
import { createOrbit } from '#control/orbit/create-orbit.ts'
import type { Orbit } from '#control/orbit/orbit.ts'
import { createContentStore } from '#data/content/create-content-store.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import { createApp } from '#edge/http/app.ts'
import type { SwiftDeps } from '#edge/swift/exchange.ts'
import { addSwift } from '#edge/swift/swift.ts'
import { openTestCatalog } from './catalogs.ts'

const NOTHING: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} }

export interface Answer {
  readonly status: number
  readonly reason: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly bytes: Buffer
  readonly text: string
}

export interface Ask {
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Uint8Array
  /** Undefined: the owner's. Null: none. */
  readonly token?: string | null
}

export interface SwiftFixture extends AsyncDisposable {
  readonly port: number
  readonly account: string
  /** Id and secret of the account's API client. */
  readonly client: { readonly id: string; readonly secret: string }
  readonly token: string
  readonly auth: Auth
  readonly catalog: Catalog
  readonly orbit: Orbit
  /** Lines of the log. */
  readonly logged: string[]
  /** @param path behind the account, as it is to stand in the request line; whole where it begins with `!` */
  ask(method: string, path: string, options?: Ask): Promise<Answer>
  /** Sends bytes on a connection of their own. @returns what came back until its end */
  send(bytes: string | Buffer, options?: { readonly end?: boolean }): Promise<string>
  logIn(client: { readonly id: string; readonly secret: string }): Promise<string>
  stop(): Promise<void>
}

/** The real thing on a temporary folder: one account with a full API client and the container `c`. */
export async function openSwift(
  change: { readonly silenceMs?: number; readonly deps?: Partial<SwiftDeps> } = {},
): Promise<SwiftFixture> {
  await using opened = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'swift-'))
  opened.defer(() => rm(folder, { recursive: true, force: true }))
  const store = opened.use(await openFilesystemStore(folder, { exclusive: true }))
  const catalog = opened.use(await openTestCatalog())
  const contents = opened.use(
    createContentStore({
      storePlace: folder,
      spoolDirectory: folder,
      store,
      threads: 1,
      reserve: 0,
      keep: async () => NOTHING,
    }),
  )
  const auth = createAuth({ catalog, now: Date.now, random: randomBytes })
  const orbit = createOrbit({
    catalog,
    contents,
    acquirePins: async () => NOTHING,
    keep: async () => NOTHING,
    now: createClock(Date.now),
    quota: undefined,
    seats: createUploadSeats(512),
    promised: new Ledger(),
    reserve: { promise: () => new Ledger().take([]) },
    bytesOfImages: async () => 0,
  })
  const logged: string[] = []
  const app = await createApp({
    logger: pino({}, { write: (line) => void logged.push(line) }),
    ...(change.silenceMs === undefined ? {} : { silenceMs: change.silenceMs }),
  })
  addSwift(app, { orbit, content: contents, auth, readiness: async () => [], now: Date.now, ...change.deps })
  opened.defer(() => app.close())
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true })
  opened.defer(() => agent.destroy())

  const { id: account } = await auth.operator.createAccount({ name: 'Account' })
  const { client, secret } = await auth.operator.createClient(account, { permissions: 'full' })
  const logIn = async (who: { readonly id: string; readonly secret: string }) => {
    const login = await auth.orbit.login({ user: who.id, key: who.secret })
    if (!login.ok) throw new Error(login.description)
    return login.value.token
  }
  const token = await logIn({ id: client.id, secret })

  async function ask(method: string, path: string, { headers = {}, body, token: own = token }: Ask = {}) {
    const request = httpRequest({
      agent,
      port,
      method,
      path: path.startsWith('!') ? path.slice(1) : `/v1/${account}${path}`,
      headers: { ...(own === null ? {} : { 'X-Auth-Token': own }), ...headers },
    })
    // Never a string: Node would join it with the headers and encode them, too, as UTF-8.
    request.end(typeof body === 'string' ? Buffer.from(body) : body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const bytes = Buffer.concat(await response.toArray())
    const { statusCode: status = 0, statusMessage: reason = '', rawHeaders } = response
    return { status, reason, headers: response.headers, rawHeaders, bytes, text: bytes.toString() }
  }
  await ask('PUT', '/c')
  const closing = opened.move()
  return {
    port,
    account,
    client: { id: client.id, secret },
    token,
    auth,
    catalog,
    orbit,
    logged,
    ask,
    logIn,
    async send(bytes, { end = false } = {}) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      if (end) socket.end(bytes)
      else socket.write(bytes)
      let answer = ''
      socket.setEncoding('latin1')
      socket.on('data', (chunk) => {
        answer += chunk
      })
      await once(socket, 'close')
      return answer
    },
    stop: () => app.close(),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  }
}
