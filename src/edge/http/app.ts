import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import helmet from '@fastify/helmet'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { AnswerName } from '#base/answer-names.ts'
import { assert } from '#base/errors.ts'
import { createBodyWatch, hasBody } from './body-watch.ts'
import { type ConnectionLimits, limitConnections } from './connections.ts'
import { checkHost } from './host.ts'
import { createInterceptedServer, type Interceptor, type Surroundings } from './intercept.ts'
import { ClientGone, HttpProblem, OAuthProblem, problemOf } from './problems.ts'
import { type ParseError, readmit } from './raw-url.ts'
import { type RequestObserver, requestIdOf } from './request-scope.ts'
import { VALIDATOR_OPTIONS, validationProblem } from './validation.ts'

export interface AppOptions {
  readonly logger: FastifyBaseLogger
  /** Bytes of a JSON or form body. */
  readonly bodyLimit?: number
  /** Longest time without a byte of a request's body, in milliseconds. */
  readonly silenceMs?: number
  /** None where it is left out. */
  readonly connections?: ConnectionLimits
  readonly observer?: RequestObserver
}

const DEFAULT_BODY_LIMIT = 256 * 1024
/** A longer part of a path names nothing that we have; Orbit's objects have names of up to 1024 bytes, encoded. */
const MAX_PARAM_LENGTH = 4096
/** Request line and headers; beyond it the connection is refused with 431. */
const MAX_HEADER_SIZE = 64 * 1024
const SERVER_OPTIONS: ServerOptions = {
  maxHeaderSize: MAX_HEADER_SIZE,
  headersTimeout: 60_000,
  // A long body takes its time; body-watch.ts sees to silent ones.
  requestTimeout: 0,
  keepAliveTimeout: 72_000,
  // Node's own refusal has no body; checkHost's has.
  requireHostHeader: false,
}
const DEFAULT_SILENCE_MS = 60_000

/** The HTTP application that all edges add their routes to: every refusal has a JSON body and nothing of the inside. */
export async function createApp(options: AppOptions): Promise<App> {
  const { logger, bodyLimit = DEFAULT_BODY_LIMIT, silenceMs = DEFAULT_SILENCE_MS } = options
  const interceptors: Interceptor[] = []
  const upgrades: AcceptsUpgrade[] = []
  // Any other wish to leave HTTP, such as the h2c of clients in Java, is passed over as it may be.
  const shouldUpgradeCallback = ({ method, headers, url = '' }: IncomingMessage) =>
    method === 'GET' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    upgrades.some((accepts) => accepts(url))
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit,
    genReqId: requestIdOf,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    serverFactory: (route) =>
      createInterceptedServer(
        { ...SERVER_OPTIONS, shouldUpgradeCallback },
        route,
        interceptors,
        options.observer,
      ),
    // A connection that is kept alive without a request must not hold up a stop.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    ajv: VALIDATOR_OPTIONS,
    schemaErrorFormatter: (findings, part) => validationProblem(findings, part),
    frameworkErrors: (error, request, reply) => sendProblem(error, request, reply),
    clientErrorHandler(error, socket) {
      if (interceptors.some(({ cutShort }) => cutShort(socket, error))) return
      if (!readmit(app.server, socket, error)) answerBadRequest(error, socket)
    },
  })
  if (options.connections) limitConnections(app.server, options.connections)
  // Ten thousand images: JSON.stringify needs 9 ms for each 4 MB, a compiled serialiser 5 to 60.
  app.setSerializerCompiler(() => JSON.stringify)
  acceptEmptyJson(app)
  app.setErrorHandler(sendProblem)
  app.setNotFoundHandler(({ method, url }) => {
    throw new HttpProblem(404, 'missing_resource', [`there is nothing at ${method} ${url.slice(0, 200)}`])
  })
  app.server.on('checkExpectation', refuseExpectation)
  const bodies = createBodyWatch(silenceMs)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    bodies.watch(request.raw)
    // A type that speaks of no bytes says nothing.
    if (!hasBody(request.raw)) delete request.raw.headers['content-type']
    checkHost(request)
  })
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
    // A client can send the rest later; a stop does not wait for it.
    bodies.breakOff()
  })
  app.addHook('onResponse', async (request, reply) => {
    const { method, url, ip } = request
    request.log.info(
      { method, path: pathOf(url), status: reply.statusCode, ms: reply.elapsedTime, ip },
      'request',
    )
  })
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] },
    },
    // Whoever puts TLS in front decides for how long it is binding.
    strictTransportSecurity: false,
  })
  const surroundings: Surroundings = { log: logger, bodies, isClosing: () => closing }
  additions.set(app.server, (make) => interceptors.push(make(surroundings)))
  upgradesOf.set(app.server, upgrades)
  return app
}

export type App = FastifyInstance<Server>

const additions = new WeakMap<Server, (make: MakeInterceptor) => void>()

/** Adds an edge whose requests the router never sees. */
export function intercept(app: App, make: MakeInterceptor): void {
  const add = additions.get(app.server)
  assert(add, 'an application that createApp made')
  add(make)
}

const upgradesOf = new WeakMap<Server, AcceptsUpgrade[]>()

/**
 * Says which addresses can become WebSockets; whoever accepts one has the only listener for `upgrade`.
 * @param accepts is given the address as it stands in the request line, of a GET
 */
export function acceptUpgrades(app: App, accepts: AcceptsUpgrade): void {
  const upgrades = upgradesOf.get(app.server)
  assert(upgrades, 'an application that createApp made')
  upgrades.push(accepts)
}

type AcceptsUpgrade = (url: string) => boolean

type MakeInterceptor = (surroundings: Surroundings) => Interceptor

/** Query strings may hold signatures: they stay out of the log. */
const pathOf = (url: string): string => url.split('?', 1)[0] ?? ''

/** Official clients announce JSON on every call, also on those without a body. */
function acceptEmptyJson(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null, undefined)
    else void parse(request, String(body), done)
  })
}

/** The last line of defence of every route; edges with another form of errors set their own handler. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (error instanceof OAuthProblem) {
    reply
      .code(error.status)
      .headers({ 'cache-control': 'no-store', ...error.headers })
      .send({ error: error.error, error_description: error.message })
    return
  }
  const { status, name, errors, hint, headers } = problemOf(error)
  if (status >= 500) request.log.error({ err: error }, 'request failed')
  // A connection that is gone gets no answer, and so no line of the log for it.
  if (error instanceof ClientGone) logGone(request)
  // What is left of a body that nobody wants would keep the connection waiting for it.
  if (hasBody(request.raw) && !request.raw.complete) reply.header('connection', 'close')
  reply
    .code(status)
    .headers({ 'cache-control': 'no-cache', ...headers })
    .send({ error_name: name, errors, hint, request_id: request.id })
}

/** Without a stack: it is nothing that we could mend. */
export function logGone({ log, method, url }: FastifyRequest): void {
  log.info({ method, path: pathOf(url) }, 'the client went away')
}

/** Answers what is not HTTP, or too much of it: there is no request yet, so the bytes are written by hand. */
function answerBadRequest(error: ParseError, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const { status, name, sentence, headers = '' } = nonsenseOf(error)
  const body = JSON.stringify({ error_name: name, errors: [sentence] })
  socket.end(
    `HTTP/1.1 ${status}\r\n${headers}Content-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

interface Nonsense {
  /** With its words, as in a status line. */
  readonly status: string
  readonly name: AnswerName
  readonly sentence: string
  /** Whole lines. */
  readonly headers?: string
}

/** What was wrong with bytes that are no request. */
function nonsenseOf(error: ParseError): Nonsense {
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    const sentence = 'URL and headers are too long'
    return { status: '431 Request Header Fields Too Large', name: 'too_large', sentence }
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const sentence = 'the request did not arrive in time'
    return { status: '408 Request Timeout', name: 'request_timeout', sentence }
  }
  if (isUnknownMethod(error)) {
    const headers = 'Allow: GET, HEAD, POST, PUT, DELETE, COPY, OPTIONS\r\n'
    const sentence = 'there is no such method'
    return { status: '405 Method Not Allowed', name: 'method_not_allowed', sentence, headers }
  }
  return { status: '400 Bad Request', name: 'bad_request', sentence: 'this is not a valid HTTP request' }
}

/** A request line of which nothing but the method is unknown to Node. */
const isUnknownMethod = ({ code, rawPacket }: ParseError): boolean =>
  code === 'HPE_INVALID_METHOD' && /^[\w-]{1,40} \S+ HTTP\/1\.[01]\r?\n/.test(String(rawPacket))

/** The only expectation there is, `100-continue`, is met by Node. */
function refuseExpectation(_request: IncomingMessage, response: ServerResponse): void {
  const name: AnswerName = 'expectation_failed'
  const body = JSON.stringify({
    error_name: name,
    errors: ['Expect can be 100-continue and nothing else'],
  })
  response
    .writeHead(417, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    })
    .end(body)
}
