import type { WebSocket } from '@fastify/websocket'
import type { Stay } from '#control/auth/auth.ts'
import type { ConsoleStream } from '#control/servers/servers.ts'

/** A console, for as long as who made its token may have it. */
export type Attached = ConsoleStream & { readonly stay: Stay }

/** How it went: for the log. */
export interface RelayEnd {
  /** RFC 6455 §7.4; 1006 where the connection broke. */
  readonly code: number
  readonly sent: number
  readonly received: number
}

/** How long a guest may take to read what a client said that has left. */
const FAREWELL_MS = 5000

/** Questions that may go unanswered. */
const MOST_UNANSWERED = 2

const ENDS = {
  ended: [1000, 'the server stopped or closed it'],
  stopping: [1001, 'the library is stopping'],
  over: [1008, 'who opened it is let in no more'],
  broken: [1011, 'the console broke off'],
} as const

/** Says why, and ends; what does not answer is cut off by the server after a while. */
export function closeWith(socket: WebSocket, why: keyof typeof ENDS): void {
  const [code, reason] = ENDS[why]
  // Nothing would be read otherwise, the client's farewell included.
  socket.resume()
  socket.close(code, reason)
}

/**
 * Carries bytes between a client and a console until one of them goes away; both are ended by then. Messages are
 * binary; of a client's text messages the UTF-8 bytes are taken. Whoever is slow makes the other side wait: of what the
 * guest says, no more is held than one chunk and what the stream has read ahead.
 */
export async function relay(socket: WebSocket, console: Attached, pingMs: number): Promise<RelayEnd> {
  const { stream, backlog, stay } = console
  const closed = new Promise<number>((resolve) => socket.once('close', resolve))
  const count = { sent: 0, received: 0 }
  const watch = watchClient(socket, pingMs)
  socket.on('message', (data: Buffer) => {
    if (stream.destroyed) return
    count.received += data.length
    if (stream.write(data) || socket.isPaused) return
    socket.pause()
    stream.once('drain', () => socket.resume())
  })
  // What a client said before it left is still for the guest.
  socket.once('close', () => {
    const limit = setTimeout(() => stream.destroy(), FAREWELL_MS).unref()
    stream.end(() => stream.destroy()).once('close', () => clearTimeout(limit))
  })
  const say = async (chunk: Uint8Array) => {
    if (chunk.length > 0) await send(socket, chunk)
    count.sent += chunk.length
    watch.alive()
  }
  try {
    await say(backlog)
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) await say(chunk)
    closeWith(socket, 'ended')
  } catch {
    // Where the client went away first, this does nothing.
    closeWith(socket, stay.signal.aborted ? 'over' : 'broken')
  } finally {
    watch.end()
  }
  return { code: await closed, ...count }
}

/** Waits until the bytes are out of our hands. */
const send = (socket: WebSocket, chunk: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.send(chunk, { binary: true }, (error) => (error ? reject(error) : resolve()))
  })

/** Cuts off a client of which nothing is heard and which takes nothing. */
function watchClient(socket: WebSocket, pingMs: number) {
  let unanswered = 0
  const alive = () => {
    unanswered = 0
  }
  for (const event of ['message', 'ping', 'pong'] as const) socket.on(event, alive)
  const timer = setInterval(() => {
    // While the guest does not read, neither do we: silence is our own.
    if (socket.isPaused) return
    if (unanswered >= MOST_UNANSWERED) return socket.terminate()
    unanswered++
    socket.ping()
  }, pingMs).unref()
  return { alive, end: () => clearInterval(timer) }
}
