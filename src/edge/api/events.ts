import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { LibraryError } from '#base/errors.ts'
import type { App } from '#edge/http/app.ts'
import { sendEvents, wantsEvents } from '#edge/http/send-events.ts'
import { EventSchema, printEvent } from '#schema/event.ts'
import { baseOf, sessionOf, stayOf } from './access.ts'
import type { ApiDeps } from './api-deps.ts'
import type { ById } from './images.ts'
import { readIntegerQuery } from './query.ts'
import { docs, listOf } from './route-docs.ts'

/** What happened to images and servers: as a list, or live to whoever accepts `text/event-stream`. */
export function eventRoutes(app: App, deps: ApiDeps): void {
  const { auth, library, heartbeatMs, stopping } = deps

  async function answer(request: FastifyRequest, reply: FastifyReply, id?: string) {
    const session = sessionOf(request)
    const base = baseOf(request, deps)
    const after = readAfter(request)
    if (!wantsEvents(request)) {
      const limit = readIntegerQuery(request, 'limit', { min: 1, max: 1000 })
      const page = { ...(after === undefined ? {} : { after }), ...(limit === undefined ? {} : { limit }) }
      return (await library.events(session, id, page)).map((event) => printEvent(event, base))
    }
    // Refused here, where it can still be said with a status, rather than inside the stream.
    await library.events(session, id, { limit: 1 })
    async function* open(signal: AbortSignal) {
      for await (const event of library.watch(session, id, after ?? 0, signal)) {
        yield { id: String(event.sequence), data: printEvent(event, base) }
      }
    }
    using stay = stayOf(request, auth)
    const ended = AbortSignal.any([stopping, stay.signal])
    return await sendEvents(request, reply, open, { heartbeatMs, stopping: ended })
  }

  app.get<ById>('/images/:id/events', { schema: IMAGE_DOCS }, (request, reply) =>
    answer(request, reply, request.params.id),
  )
  app.get<ById>('/servers/:id/events', { schema: SERVER_DOCS }, (request, reply) =>
    answer(request, reply, request.params.id),
  )
  app.get('/events', { schema: ALL_DOCS }, (request, reply) => answer(request, reply))
}

/** A stream that was lost goes on where it ended. */
function readAfter(request: FastifyRequest): number | undefined {
  const header = request.headers['last-event-id']
  if (header === undefined)
    return readIntegerQuery(request, 'after', { min: 0, max: Number.MAX_SAFE_INTEGER })
  if (typeof header !== 'string' || !/^\d{1,15}$/.test(header)) {
    throw new LibraryError('invalid', 'Last-Event-ID must be the id of an event of this stream')
  }
  return Number(header)
}

const QUERY = {
  after: Type.Optional(Type.String({ description: 'only events with a higher `sequence`' })),
  limit: Type.Optional(Type.String({ description: '1 to 1000' })),
}

const IMAGE_DOCS = docs({
  tag: 'events',
  id: 'listImageEvents',
  summary: 'List what happened to an image; live with Accept: text/event-stream',
  answers: { 200: listOf(EventSchema) },
  query: QUERY,
})

const SERVER_DOCS = docs({
  tag: 'events',
  id: 'listServerEvents',
  summary: 'List what happened to a server; live with Accept: text/event-stream',
  answers: { 200: listOf(EventSchema) },
  query: QUERY,
})

const ALL_DOCS = docs({
  tag: 'events',
  id: 'listEvents',
  summary: "List what happened to the account's images and servers; live with Accept: text/event-stream",
  answers: { 200: listOf(EventSchema) },
  query: QUERY,
})
