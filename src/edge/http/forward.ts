import proxy from '@fastify/http-proxy'
import { context, propagation } from '@opentelemetry/api'
import { type App, acceptUpgrades } from './app.ts'
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
}

/** Has another process of the same library answer, which knows the same tokens: requests and answers pass as they are. */
export async function addForward(app: App, { to, prefixes, upgrades, what }: ForwardOptions): Promise<void> {
  if (to === undefined) {
    for (const prefix of prefixes)
      for (const url of [prefix, `${prefix}/*`])
        app.all(url, { schema: { hide: true } }, async () => {
          throw new HttpProblem(503, 'unavailable', [`no process that runs ${what} is known here`])
        })
    return
  }
  if (upgrades.length > 0)
    acceptUpgrades(app, (url) => upgrades.some((prefix) => url.startsWith(`${prefix}/`)))
  for (const prefix of prefixes) {
    await app.register(proxy, {
      upstream: to,
      prefix,
      rewritePrefix: prefix,
      websocket: upgrades.includes(prefix),
      replyOptions: {
        // Addresses in answers begin with what the client asked for.
        rewriteRequestHeaders({ headers: { host = '' }, id }, headers) {
          const passed = { ...headers, host, 'x-request-id': id }
          propagation.inject(context.active(), passed)
          return passed
        },
        onError(reply, { error }) {
          reply.log.warn({ err: error, to }, 'cannot forward a request')
          const problem = new HttpProblem(503, 'unavailable', [
            `the process that runs ${what} does not answer`,
          ])
          reply.send(problem)
        },
      },
    })
  }
}
