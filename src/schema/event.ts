import { type Static, Type } from 'typebox'
import type { Event } from '#model/event.ts'
import { identity, integer, nullable, printTime, time, urlOf } from './fields.ts'

const ReferenceSchema = Type.Object({
  id: Type.String(),
  resource_type: Type.String(),
  url: Type.String(),
})
type Reference = Static<typeof ReferenceSchema>

export const EventSchema = Type.Object(
  {
    ...identity('evt', 'event'),
    sequence: integer('rises with every event; `after=` and `Last-Event-ID` take it'),
    action: Type.String({ description: 'a stable word: image.registered, image.available, image.failed, …' }),
    message: Type.String({ description: 'one sentence' }),
    short_message: Type.String(),
    created_at: time(),
    affects: Type.Array(ReferenceSchema),
    resource: nullable<Reference>(ReferenceSchema),
    client: nullable<Reference>(ReferenceSchema),
    user: nullable<Reference>(ReferenceSchema),
  },
  { $id: 'Event', description: 'One change of one thing' },
)
export type EventJson = Static<typeof EventSchema>

const KINDS: Record<string, readonly [type: string, collection: string]> = {
  img: ['image', 'images'],
  srv: ['server', 'servers'],
  acc: ['account', 'accounts'],
  cli: ['api_client', 'api_clients'],
  usr: ['user', 'users'],
}

/** Names another object by its id, whose prefix tells what it is. */
function printReference(id: string, base: string): Reference {
  const [type, collection] = KINDS[id.slice(0, 3)] ?? ['resource', 'resources']
  return { id, resource_type: type, url: urlOf(base, collection, id) }
}

export function printEvent(event: Event, base: string): EventJson {
  const resource = printReference(event.resourceId, base)
  return {
    id: event.id,
    resource_type: 'event',
    url: urlOf(base, 'events', event.id),
    sequence: event.sequence,
    action: event.action,
    message: event.message,
    short_message: event.action,
    created_at: printTime(event.createdAt),
    affects: [resource],
    resource,
    client: event.actor.clientId === null ? null : printReference(event.actor.clientId, base),
    user: event.actor.userId === null ? null : printReference(event.actor.userId, base),
  }
}
