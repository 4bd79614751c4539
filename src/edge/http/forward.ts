import proxy from '@fastify/http-proxy'
import { context, propagation } from '@opentelemetry/api'
import type { App } from './app.ts'
import { forwardUpgrades, ofThisHop } from './forward-upgrade.ts'
import { HttpProblem } from './problems.ts'

export interface ForwardOptions {
  /** Scheme and host of the process that answers; undefined where none is known. */
  readonly to: string | undefined
  /** Beginnings of paths, such as `/1.0/servers`. */
  readonly prefixes: readonly string[]
  /** Which of them may become WebSockets. */
  readonly upgrades: readonly string[]
  /** Says who would answer, as in "no process … is known here". */
  readonly what: string
  /** How long the other process may take for an answer, and be silent in it. */
  readonly patienceMs?: number
}

/** QEMU may take half of it. */
const PATIENCE_MS = 60_000
const CONNECT_MS = 5000

/**
 * Has another process of the same library answer, which knows the same tokens: requests and answers pass as they are.
 */
export async function addForward(app: App, options: ForwardOptions): Promise<void> {
  const { to, prefixes, upgrades, what, patienceMs = PATIENCE_MS } = options
  if (to === undefined) {
    for (const prefix of prefixes)
      for (const url of [prefix, `${prefix}/*`])
        app.all(url, { schema: { hide: true } }, async () => {
          throw new HttpProblem(503, 'unavailable', [`no process that runs ${what} is known here`])
        })
    return
  }
  const away = () => new HttpProblem(503, 'unavailable', [`the process that runs ${what} does not answer`])
  if (upgrades.length > 0) forwardUpgrades(app, { to, prefixes: upgrades, away, patienceMs })
  for (const prefix of prefixes) {
    await app.register(proxy, {
      upstream: to,
      prefix,
      rewritePrefix: prefix,
      // Read here, by the rules of the other process: one that refuses a body in the middle may not be heard.
      proxyPayloads: false,
      undici: {
        connect: { timeout: CONNECT_MS },
        headersTimeout: patienceMs,
        bodyTimeout: patienceMs,
      },
      destroyAgent: true,
      disableRequestLogging: true,
      replyOptions: {
        // A refusal for now is the client's to hear.
        retryDelay: () => null,
        rewriteRequestHeaders: (request, headers) => {
          // Addresses in answers begin with what the client asked for; the logs of both have one name for the request.
          const { host = '' } = request.headers
          const passed = { ...ofThisHop.without(headers), host, 'x-request-id': request.id }
          propagation.inject(context.active(), passed)
          return passed
        },
        rewriteHeaders: (headers) => ofThisHop.without(headers),
        onError(reply, { error }) {
          reply.log.warn({ err: error, to }, 'cannot forward a request')
          reply.send(away())
        },
      },
    })
  }
}
