import type { ServerStatus } from './server.ts'
import type { ServerType } from './server-type.ts'

/** `unavailable` is where its host cannot run it; it comes back to what it was. */
const CHANGES: Readonly<Record<ServerStatus, readonly ServerStatus[]>> = {
  creating: ['active', 'inactive', 'failed', 'deleting'],
  active: ['inactive', 'unavailable', 'deleting'],
  inactive: ['active', 'unavailable', 'deleting'],
  unavailable: ['active', 'inactive', 'deleting'],
  failed: ['deleting'],
  deleting: ['deleted'],
  deleted: [],
}

/** Says whether a server may ever go from one status to another. */
export function canChangeServer(from: ServerStatus, to: ServerStatus): boolean {
  return CHANGES[from].includes(to)
}

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
const THERE: readonly ServerStatus[] = ['creating', 'active', 'inactive', 'unavailable', 'failed']

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

/** Says whether a server exists: it counts for quotas, and holds its slot and port. */
export const isThere = (status: ServerStatus): boolean => status !== 'deleted'

/** Says whether new servers may be built as this type; those that were stay as they are. */
export const isOffered = (type: Pick<ServerType, 'status'>): boolean => type.status !== 'deprecated'
