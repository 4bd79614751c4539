import type { Event, EventAction } from '#model/event.ts'
import { insertWithNewId, type TableContext } from './context.ts'
import type { EventRow } from './schema.ts'

export interface EventQuery {
  readonly accountId: string
  readonly resourceId?: string | undefined
  readonly after: number
  readonly limit: number
}

export interface Events {
  /** Only inside a transaction, together with the change that it tells of. */
  add(event: Omit<Event, 'id' | 'sequence'>): Promise<Event>
  /** Those with a higher sequence number than `after`, in order. */
  list(query: EventQuery): Promise<Event[]>
  /** The account of a thing that there ever was an event of. */
  findAccount(resourceId: string): Promise<string | undefined>
}

export function eventsTable({ db, random, touch }: TableContext): Events {
  return {
    async add(event) {
      // The counter's row stays locked until the transaction ends, so numbers become visible in their order: whoever
      // has seen one has seen all below it. A sequence of the database's own would not promise that.
      const { value: sequence } = await db
        .updateTable('counters')
        .set((update) => ({ value: update('value', '+', 1) }))
        .where('name', '=', 'events')
        .returning('value')
        .executeTakeFirstOrThrow()
      const { accountId, resourceId, action, message, actor, createdAt } = event
      const id = await insertWithNewId('evt', random, async (id) => {
        const query = db
          .insertInto('events')
          .values({
            sequence,
            id,
            account_id: accountId,
            resource_id: resourceId,
            action,
            message,
            client_id: actor.clientId,
            user_id: actor.userId,
            created_at: createdAt,
          })
          .onConflict((conflict) => conflict.column('id').doNothing())
        return (await query.returning('id').executeTakeFirst()) !== undefined
      })
      touch('events')
      return { id, sequence, ...event }
    },
    async list({ accountId, resourceId, after, limit }) {
      let query = db
        .selectFrom('events')
        .selectAll()
        .where('sequence', '>', after)
        .where('account_id', '=', accountId)
      if (resourceId !== undefined) query = query.where('resource_id', '=', resourceId)
      return (await query.orderBy('sequence').limit(limit).execute()).map(toEvent)
    },
    async findAccount(resourceId) {
      const query = db.selectFrom('events').select('account_id').where('resource_id', '=', resourceId)
      return (await query.limit(1).executeTakeFirst())?.account_id
    },
  }
}

function toEvent(row: EventRow): Event {
  return {
    id: row.id,
    sequence: row.sequence,
    accountId: row.account_id,
    resourceId: row.resource_id,
    action: row.action as EventAction,
    message: row.message,
    actor: { clientId: row.client_id, userId: row.user_id },
    createdAt: row.created_at,
  }
}
