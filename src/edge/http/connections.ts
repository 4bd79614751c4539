import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface ConnectionLimits {
  /** Connections at once. */
  readonly total: number
  /** Of them, those of one address. */
  readonly perAddress: number
}

/** Said to who finds all places taken by requests under way. */
const FULL = JSON.stringify({
  error_name: 'unavailable',
  errors: ['there are too many connections'],
  hint: 'try again later, or over fewer connections',
})
const REFUSAL =
  'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\nRetry-After: 5\r\n' +
  `Content-Length: ${Buffer.byteLength(FULL)}\r\nConnection: close\r\n\r\n${FULL}`

/**
 * Bounds a server's connections. Those that wait for a request, or for the rest of its headers, keep nobody out: at a
 * limit, the one that has waited longest makes place. Only where all have requests under way is a new one refused.
 */
export function limitConnections(server: Server, { total, perAddress }: ConnectionLimits): void {
  const everybody = new Group()
  const groups = new Map<string, Group>()
  /** A socket forgets it when it is closed. */
  const addresses = new WeakMap<Socket, string>()

  const groupsOf = (socket: Socket) => {
    const own = groups.get(addresses.get(socket) ?? '')
    return own ? [everybody, own] : []
  }
  /** At once: what is destroyed takes its place until the next turn. */
  const leave = (socket: Socket) => {
    for (const group of groupsOf(socket)) group.remove(socket)
    const address = addresses.get(socket) ?? ''
    if (groups.get(address)?.size === 0) groups.delete(address)
    addresses.delete(socket)
    socket.destroy()
  }

  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const own = groups.get(address) ?? new Group()
    const crowd = own.size >= perAddress ? own : everybody.size >= total ? everybody : undefined
    const longest = crowd?.longest()
    if (longest) leave(longest)
    else if (crowd) {
      socket.on('error', () => {})
      socket.end(REFUSAL, () => socket.destroy())
      return
    }
    groups.set(address, own)
    addresses.set(socket, address)
    for (const group of groupsOf(socket)) group.add(socket)
    socket.once('close', () => leave(socket))
  })

  const onRequest = ({ socket }: IncomingMessage, response: ServerResponse) => {
    for (const group of groupsOf(socket)) group.begin(socket)
    response.once('close', () => {
      for (const group of groupsOf(socket)) group.end(socket)
    })
  }
  for (const event of ['request', 'checkContinue', 'checkExpectation'])
    server.prependListener(event, onRequest)
  server.prependListener('upgrade', ({ socket }: IncomingMessage) => {
    for (const group of groupsOf(socket)) group.begin(socket)
  })
}

/** Some connections, and how many requests each has under way. */
class Group {
  readonly #requests = new Map<Socket, number>()
  /** In the order in which they began to wait. */
  readonly #waiting = new Set<Socket>()

  get size(): number {
    return this.#requests.size
  }

  add(socket: Socket): void {
    this.#requests.set(socket, 0)
    this.#waiting.add(socket)
  }

  remove(socket: Socket): void {
    this.#requests.delete(socket)
    this.#waiting.delete(socket)
  }

  begin(socket: Socket): void {
    const count = this.#requests.get(socket)
    if (count === undefined) return
    this.#requests.set(socket, count + 1)
    this.#waiting.delete(socket)
  }

  end(socket: Socket): void {
    const count = this.#requests.get(socket)
    if (count === undefined) return
    this.#requests.set(socket, count - 1)
    if (count === 1) this.#waiting.add(socket)
  }

  /** The one that has waited longest for a request. */
  longest(): Socket | undefined {
    const [longest] = this.#waiting
    return longest
  }
}
