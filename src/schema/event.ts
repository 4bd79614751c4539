import { type Static, Type } from 'typebox'
import { identity, nullable, printTime, time, urlOf } from './fields.ts'

const ReferenceSchema = Type.Object({
  id: Type.String(),
  resource_type: Type.String(),
  url: Type.String(),
})
type Reference = Static<typeof ReferenceSchema>

export const EventSchema = Type.Object(
  {
    ...identity('evt', 'event'),
    action: Type.String({ description: 'a stable word: created, available, failed, updated, …' }),
    message: Type.String({ description: 'one sentence' }),
    short_message: Type.String(),
    created_at: time(),
    affects: Type.Array(ReferenceSchema),
    resource: nullable<Reference>(ReferenceSchema),
    client: nullable<Reference>(ReferenceSchema),
    user: nullable<Reference>(ReferenceSchema),
  },
  { $id: 'Event' },
)
export type EventJson = Static<typeof EventSchema>

export interface EventView {
  readonly id: string
  readonly action: string
  readonly message: string
  readonly resourceId: string
  readonly clientId: string | null
  readonly userId: string | null
  readonly createdAt: number
}

const KINDS: Record<string, readonly [type: string, collection: string]> = {
  img: ['image', 'images'],
  acc: ['account', 'accounts'],
  cli: ['api_client', 'api_clients'],
  usr: ['user', 'users'],
}

/** Names another object by its id, whose prefix tells what it is. */
function printReference(id: string, base: string): Reference {
  const [type, collection] = KINDS[id.slice(0, 3)] ?? ['resource', 'resources']
  return { id, resource_type: type, url: urlOf(base, collection, id) }
}

export function printEvent(event: EventView, base: string): EventJson {
  const resource = printReference(event.resourceId, base)
  return {
    id: event.id,
    resource_type: 'event',
    url: urlOf(base, 'events', event.id),
    action: event.action,
    message: event.message,
    short_message: event.action,
    created_at: printTime(event.createdAt),
    affects: [resource],
    resource,
    client: event.clientId === null ? null : printReference(event.clientId, base),
    user: event.userId === null ? null : printReference(event.userId, base),
  }
}
