import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { createApp } from '#edge/http/app.ts'
import { addProbes, type Readiness } from '#edge/http/probes.ts'
import type { Config } from './config.ts'
import { listenError, reachable } from './listen-error.ts'
import type { Metrics } from './metrics/metrics.ts'

/** More are open only where something is wrong with who reads. */
const CONNECTIONS = { total: 64, perAddress: 64 }

export interface MetricsService extends AsyncDisposable {
  readonly url: string
}

export interface MetricsParts {
  readonly metrics: Metrics
  readonly readiness: Readiness
  readonly log: Logger
}

/**
 * Listens for who reads metrics, where the settings say so: at an address of its own, for what they tell is nobody's
 * business who can reach the library, and behind a proxy all who do come from loopback.
 */
export async function serveMetrics(
  { metrics: where }: Pick<Config, 'metrics'>,
  { metrics, readiness, log }: MetricsParts,
): Promise<MetricsService | undefined> {
  if (!where) return undefined
  const { host, port } = where
  // A line for each scrape would be most of the log.
  const app = await createApp({ logger: log.child({}, { level: 'warn' }), connections: CONNECTIONS })
  addProbes(app, readiness)
  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => {
    reply.header('content-type', metrics.contentType).header('cache-control', 'no-store')
    return reply.send(await metrics.scrape())
  })
  try {
    await app.listen({ host, port })
  } catch (cause) {
    await app.close()
    throw listenError(cause, 'metrics.listen', host, port)
  }
  const bound = app.server.address() as AddressInfo
  return {
    url: `http://${reachable(bound.address)}:${bound.port}`,
    [Symbol.asyncDispose]: () => app.close(),
  }
}
