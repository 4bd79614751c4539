/** Who caused an event; all null where the library did it by itself. */
export interface Actor {
  readonly clientId: string | null
  readonly userId: string | null
}

export const SYSTEM: Actor = { clientId: null, userId: null }

export type EventAction =
  | 'image.registered'
  | 'image.uploaded'
  | 'image.started'
  | 'image.retrying'
  | 'image.available'
  | 'image.failed'
  | 'image.updated'
  | 'image.deprecated'
  | 'image.restored'
  | 'image.locked'
  | 'image.unlocked'
  | 'image.official'
  | 'image.unofficial'
  | 'image.damaged'
  | 'image.mended'
  | 'image.deleting'
  | 'image.deleted'
  | 'server.created'
  | 'server.starting'
  | 'server.started'
  | 'server.filled'
  | 'server.stopping'
  | 'server.stopped'
  | 'server.died'
  | 'server.held'
  | 'server.released'
  | 'server.rebooted'
  | 'server.snapshot'
  | 'server.console'
  | 'server.updated'
  | 'server.locked'
  | 'server.unlocked'
  | 'server.failed'
  | 'server.deleting'
  | 'server.deleted'

/** One change of one thing's state. */
export interface Event {
  readonly id: string
  /** Rises with every event of the whole catalog, in the order in which they became visible. */
  readonly sequence: number
  readonly accountId: string
  readonly resourceId: string
  readonly action: EventAction
  /** One sentence for people. */
  readonly message: string
  readonly actor: Actor
  /** Milliseconds since 1970. */
  readonly createdAt: number
}
