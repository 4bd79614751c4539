import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { type BodyWatch, hasBody } from './body-watch.ts'
import { type Edge, edgeOf, inRequest, type RequestObserver } from './request-scope.ts'

/** An edge that answers its requests itself, from the raw address on: the router never sees them. */
export interface Interceptor {
  /** Its name among edges. */
  readonly edge: Edge
  /** @param url as it stands in the request line */
  readonly accepts: (url: string) => boolean
  readonly answer: (raw: IncomingMessage, response: ServerResponse) => void
  /**
   * A client closed its side of the connection before its request was complete.
   * @returns whether the request was this edge's, which sees to the rest
   */
  readonly cutShort: (socket: Socket, error: Error & { code?: string }) => boolean
}

/** What all edges have of the application, whoever answers. */
export interface Surroundings {
  readonly log: FastifyBaseLogger
  readonly bodies: BodyWatch
  /** Whether the application is being stopped: connections end with their answers. */
  readonly isClosing: () => boolean
}

/** Makes a server that asks interceptors before anything goes to the router. */
export function createInterceptedServer(
  options: ServerOptions,
  route: (raw: IncomingMessage, response: ServerResponse) => void,
  interceptors: readonly Interceptor[],
  observer?: RequestObserver,
): Server {
  const find = ({ url = '' }: IncomingMessage) => interceptors.find(({ accepts }) => accepts(url))
  const answer = (raw: IncomingMessage, response: ServerResponse, ownAnswer = route) => {
    const interceptor = find(raw)
    const edge = interceptor?.edge ?? edgeOf(raw.url ?? '')
    inRequest({ raw, response, edge, observer }, () => {
      if (interceptor) interceptor.answer(raw, response)
      else ownAnswer(raw, response)
    })
  }
  const server = createServer(options, (raw, response) => answer(raw, response))
  server.prependListener('upgrade', (_raw: IncomingMessage, socket: Socket) => countUpgrade(socket, observer))
  // Where this event has a listener, Node does not say "100 Continue" by itself.
  server.on('checkContinue', (raw: IncomingMessage, response: ServerResponse) => {
    answer(raw, response, () => {
      response.writeContinue()
      route(raw, response)
    })
  })
  return server
}

/** A WebSocket, let in or not, is a request for as long as its connection is open. */
function countUpgrade(socket: Socket, observer: RequestObserver | undefined): void {
  const started = performance.now()
  const edge = 'console'
  observer?.onBegun(edge)
  socket.once('close', () => {
    const seconds = (performance.now() - started) / 1000
    observer?.onAnswered({ edge, method: 'GET', status: '1xx', seconds, isLive: true })
  })
}

/** Says whether the client waits for "100 Continue" before it sends the body. */
export const expectsContinue = (raw: IncomingMessage): boolean =>
  hasBody(raw) && raw.httpVersion !== '1.0' && raw.headers.expect?.toLowerCase() === '100-continue'
