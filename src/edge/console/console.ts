import type { Socket } from 'node:net'
import websocket from '@fastify/websocket'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { createCounts } from '#base/counts.ts'
import { LibraryError } from '#base/errors.ts'
import { Shares } from '#base/shares.ts'
import type { Auth } from '#control/auth/auth.ts'
import { LoginLimit } from '#control/auth/login-limit.ts'
import { networkOf } from '#control/auth/login-limits.ts'
import type { ConsoleKind, Servers } from '#control/servers/servers.ts'
import { type App, acceptUpgrades } from '#edge/http/app.ts'
import { HttpProblem } from '#edge/http/problems.ts'
import { type Attached, closeWith, relay } from './relay.ts'

export interface ConsoleDeps {
  readonly servers: Pick<Servers, 'attachConsole'>
  readonly auth: Pick<Auth, 'stays'>
  /** How often an attached client is asked whether it is still there; after two questions it is taken for gone. */
  readonly pingMs: number
  /** Clients of all servers, and of one. */
  readonly most?: { readonly all: number; readonly ofOne: number }
  readonly now?: () => number
}

interface ById {
  Params: { id: string }
  Querystring: { password?: unknown }
}

/** Bytes of one message of a client. Typing and pasting need less; RFB's longest message is a clipboard. */
const MAX_MESSAGE = 256 * 1024
const MOST = { all: 512, ofOne: 32 }

const WEBSOCKETS = {
  maxPayload: MAX_MESSAGE,
  // What is said in a subprotocol's name may be a token, and a token is not said again.
  handleProtocols: (names: Set<string>) => (names.has('binary') ? ('binary' as const) : false),
  // A client that does not answer a farewell must not hold up a stop.
  closeTimeout: 2000,
}

const PATH = /^\/console\/[\w-]{1,64}(?:\/(?:serial|vnc))?(?:\?|$)/

/** By the end of the path; the address that `activate_console` gives is itself that of the screen. */
const KINDS: Readonly<Record<string, ConsoleKind>> = { '/serial': 'serial', '/vnc': 'vnc', '': 'vnc' }

/**
 * Adds the consoles of servers: WebSockets (RFC 6455) under `/console`. Whoever has a console's token may attach from
 * anywhere: it is in no cookie, so a page of somebody else cannot use it, and `Origin` says nothing more.
 */
export async function addConsole(app: App, deps: ConsoleDeps): Promise<void> {
  const open = new Set<Parameters<typeof closeWith>[0]>()
  let stopping = false
  acceptUpgrades(app, (url) => PATH.test(url))
  const plugin: FastifyPluginAsync = async (scope) => {
    await scope.register(websocket, {
      options: WEBSOCKETS,
      // What a client does wrong has been answered with a close code by then.
      errorHandler: (error, _socket, { log }) => log.info({ err: error }, 'a console client broke off'),
      preClose: (done) => {
        stopping = true
        for (const socket of open) closeWith(socket, 'stopping')
        done()
      },
    })
    scope.addHook('onRequest', async (request, reply) => {
      // The connection has left HTTP already, so it serves no other request after a refusal.
      if (request.ws) reply.header('connection', 'close')
    })
    const attach = createAttach(deps, () => stopping)
    for (const [suffix, kind] of Object.entries(KINDS)) {
      const attached = new WeakMap<FastifyRequest, Attached>()
      scope.route<ById>({
        method: 'GET',
        url: `/console/:id${suffix}`,
        schema: { hide: true },
        handler: refuseWithoutUpgrade,
        preHandler: async (request) => {
          if (request.ws) attached.set(request, await attach(request, kind))
        },
        wsHandler: async (socket, request) => {
          const found = attached.get(request)
          if (!found) return closeWith(socket, 'broken')
          open.add(socket)
          socket.once('close', () => open.delete(socket))
          // While the handshake was written, the daemon may have begun to stop.
          if (stopping) closeWith(socket, 'stopping')
          const about = { server: request.params.id, kind, ip: request.ip }
          request.log.info(about, 'console attached')
          const end = await relay(socket, found, deps.pingMs)
          request.log.info({ ...about, ...end }, 'console detached')
        },
      })
    }
  }
  await app.register(plugin)
}

/** Finds a console before the connection is upgraded, so that refusals are ordinary answers. */
function createAttach(
  { servers, auth, most = MOST, now = Date.now }: ConsoleDeps,
  isStopping: () => boolean,
) {
  const failures = new LoginLimit({ now })
  const clients = createCounts(most.all)
  const clientsOf = createCounts(most.ofOne)
  const shares = new Shares({ total: most.all, busy: 'too many consoles are attached to' })
  return async (request: FastifyRequest<ById>, kind: ConsoleKind): Promise<Attached> => {
    const { id } = request.params
    const connection = request.raw.socket
    const token = readToken(request)
    if (token === undefined)
      throw new LibraryError('not_found', 'a console opens to its token alone', NO_TOKEN)
    const visit = clients.enter('')
    if (!visit) throw new LibraryError('unavailable', 'too many consoles are attached to')
    onceClosed(connection, () => visit[Symbol.dispose]())
    const found = await slowed(failures, request.ip, () => servers.attachConsole(id, token, kind))
    // Before the handshake is through, and after the end, an error finds nobody else listening.
    found.stream.on('error', () => {})
    onceClosed(connection, () => found.stream.destroy())
    const stay = auth.stays.enter(found.holder)
    onceClosed(connection, () => stay[Symbol.dispose]())
    stay.signal.addEventListener('abort', () => found.stream.destroy())
    // Asked only for whoever has shown that he may know about the server.
    const visitOf = clientsOf.enter(id)
    if (!visitOf) {
      const message = `${most.ofOne} clients are attached to the consoles of server ${id}`
      throw new LibraryError('conflict', message, { hint: 'Detach one of them first.' })
    }
    onceClosed(connection, () => visitOf[Symbol.dispose]())
    const share = shares.enter(found.holder.accountId)
    onceClosed(connection, () => share[Symbol.dispose]())
    share.add(1)
    if (isStopping()) throw new LibraryError('unavailable', 'the library is stopping')
    return { ...found, stay }
  }
}

/** The right token always opens: nobody guesses 160 bits. Whoever goes on with wrong ones is told to wait. */
async function slowed<T>(failures: LoginLimit, address: string, attach: () => Promise<T>): Promise<T> {
  try {
    return await attach()
  } catch (error) {
    if (!(error instanceof LibraryError && error.code === 'not_found')) throw error
    const network = networkOf(address)
    const waitMs = failures.delayMs(network)
    if (waitMs === 0) {
      failures.begin(network)
      throw error
    }
    const headers = { 'retry-after': String(Math.ceil(waitMs / 1000)) }
    throw new HttpProblem(429, 'too_many_requests', [TOO_MANY], headers)
  }
}

const TOO_MANY = 'too many wrong tokens came from this address: wait before trying again'

const NO_TOKEN = {
  hint: 'POST /1.0/servers/…/activate_console gives one: for ?password=…, or for the subprotocol token.… beside binary',
}

/** Whatever becomes of the handshake, the connection ends some time; it may have ended already. */
function onceClosed(connection: Socket, task: () => void): void {
  if (connection.destroyed) task()
  else connection.once('close', task)
}

/** In the address, or, where that would be kept by something in between, as a subprotocol. */
function readToken({ query: { password }, headers }: FastifyRequest<ById>): string | undefined {
  if (typeof password === 'string' && password !== '') return password
  const names = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  return names.find((name) => name.startsWith('token.'))?.slice('token.'.length)
}

async function refuseWithoutUpgrade({ params: { id } }: FastifyRequest<ById>) {
  const sentence =
    `this is for WebSocket clients: /console/${id}/serial is the first serial port, ` +
    `/console/${id}/vnc the screen (RFB)`
  throw new HttpProblem(426, 'upgrade_required', [sentence], { upgrade: 'websocket', connection: 'upgrade' })
}
