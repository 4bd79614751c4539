import type { ServerStatus } from './server.ts'
import type { ServerType } from './server-type.ts'

/** What its owner may ask of a server. */
export type ServerAction =
  | 'start'
  | 'stop'
  | 'shutdown'
  | 'reboot'
  | 'reset'
  | 'snapshot'
  | 'console'
  | 'update'
  | 'lock'
  | 'unlock'
  | 'destroy'

const RUNNING: readonly ServerStatus[] = ['active']
const THERE: readonly ServerStatus[] = ['creating', 'active', 'inactive', 'failed']

const ALLOWED: Readonly<Record<ServerAction, readonly ServerStatus[]>> = {
  start: ['inactive'],
  stop: RUNNING,
  shutdown: RUNNING,
  reboot: RUNNING,
  reset: RUNNING,
  console: RUNNING,
  // Its disk may be read whether it runs or not.
  snapshot: ['active', 'inactive'],
  update: THERE,
  lock: THERE,
  unlock: THERE,
  // Twice is once.
  destroy: [...THERE, 'deleting', 'deleted'],
}

/** Says whether a server in this status can be asked for that. */
export function canDo(action: ServerAction, status: ServerStatus): boolean {
  return ALLOWED[action].includes(status)
}

/** Says whether new servers may be built as this type; those that were stay as they are. */
export const isOffered = (type: Pick<ServerType, 'status'>): boolean => type.status !== 'deprecated'
