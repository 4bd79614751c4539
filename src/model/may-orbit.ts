import { type AccessList, admitsGroup, admitsReferrer, parseAccessList } from './access-list.ts'
import type { Caller } from './orbit.ts'

/** What decides about a container; of one that does not exist, its place alone. */
export interface ContainerFacts {
  readonly account: string
  readonly container: string
  /** Access lists as stored. */
  readonly read?: string | undefined
  readonly write?: string | undefined
  /** The images container: what is in it comes and goes by other ways. */
  readonly readOnly?: boolean
}

/** What somebody may want to do in Orbit, and with what. */
export type OrbitWish =
  | { readonly action: 'see' | 'change'; readonly account: string }
  /**
   * make, change, remove: the container itself. list: what it holds and how much of it. read, write: an object.
   * gather: read objects by their prefix as one dynamic large object.
   */
  | {
      readonly action: 'make' | 'change' | 'remove' | 'list' | 'read' | 'write' | 'gather'
      readonly container: ContainerFacts
    }

/** Whether the account is the caller's own: a user of it, or an API client with all its rights. */
export function owns({ session }: Caller, account: string): boolean {
  return (
    session !== undefined &&
    session.permissions === 'full' &&
    session.scopes.includes('orbit') &&
    session.accountId === account
  )
}

/**
 * The one function that decides who may do what in Orbit; nothing else decides. It does not know what exists, so that
 * its answer tells nobody.
 */
export function mayOrbit(caller: Caller, wish: OrbitWish): 'allowed' | 'denied' {
  return isAllowed(caller, wish) ? 'allowed' : 'denied'
}

function isAllowed(caller: Caller, wish: OrbitWish): boolean {
  if ('account' in wish) return owns(caller, wish.account)
  const { action, container } = wish
  const reads = action === 'list' || action === 'read' || action === 'gather'
  if (container.readOnly && !reads) return false
  if (isGranted(caller, action, container)) return true
  if (owns(caller, container.account)) return true
  // A token that is not for Orbit opens nothing in it, not even what is open to anybody.
  if (caller.session && !caller.session.scopes.includes('orbit')) return false
  if (action === 'write') return admitsGroup(parseAccessList(container.write ?? ''), caller.groups)
  return reads && admitsReader(parseAccessList(container.read ?? ''), caller, action)
}

function admitsReader(list: AccessList, caller: Caller, action: 'list' | 'read' | 'gather'): boolean {
  if (admitsGroup(list, caller.groups)) return true
  return admitsReferrer(list, caller.referrer) && (action === 'read' || list.listings)
}

/** A temporary URL is for objects, whatever access lists say; one for writing does not let its holder read. */
function isGranted({ grant }: Caller, action: string, { account, container }: ContainerFacts): boolean {
  if (grant?.accountId !== account) return false
  if (grant.container !== undefined && grant.container !== container) return false
  return grant.access === 'write' ? action === 'write' : action === 'read' || action === 'gather'
}
