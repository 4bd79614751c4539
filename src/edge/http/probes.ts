import type { FastifyInstance } from 'fastify'
import type { AnswerName } from '#base/answer-names.ts'

/** Sentences, each a reason why this process does not serve now; none where it does. */
export type Readiness = () => Promise<readonly string[]>

/** Adds what monitors ask, without a token: `/healthz` says whether the process lives, `/readyz` whether it serves. */
export function addProbes(app: Pick<FastifyInstance, 'get'>, readiness: Readiness): void {
  app.get('/healthz', { schema: { hide: true } }, async () => ({ status: 'alive' }))
  app.get('/readyz', { schema: { hide: true } }, async (request, reply) => {
    const errors = await readiness()
    if (errors.length === 0) return { status: 'ready' }
    const name: AnswerName = 'unavailable'
    // Not thrown: it is no failure of ours that belongs in the log, each time that somebody asks.
    reply.code(503).headers({ 'cache-control': 'no-store', 'retry-after': '5' })
    return { error_name: name, errors, request_id: request.id }
  })
}
