import type { Image } from './image.ts'
import { hasBytes } from './image-rules.ts'
import type { Server } from './server.ts'
import type { Session } from './session.ts'

/**
 * The answer to "may he?": `not_found` where the thing must look as if it did not exist, `denied` where it is visible
 * but not his to do that with.
 */
export type Verdict = 'allowed' | 'denied' | 'not_found'

export type ImageFacts = Pick<Image, 'accountId' | 'public' | 'status'>

/** Of a server, or of a volume of one. */
export type ServerFacts = Pick<Server, 'accountId'>

interface UserFacts {
  readonly id: string
  readonly accountIds: readonly string[]
}

/** What a session may want to do, and with what. */
export type Wish =
  /** see: by id; list: among others; use: read its bytes and build servers from it; change: everything else. */
  | { readonly action: 'see' | 'list' | 'use' | 'change'; readonly image: ImageFacts }
  | { readonly action: 'create'; readonly what: 'image' | 'server' }
  | { readonly action: 'see' | 'change'; readonly server: ServerFacts }
  /** An account and what hangs on it: its API clients, users and events. */
  | { readonly action: 'see' | 'change'; readonly account: string }
  | { readonly action: 'see' | 'change'; readonly user: UserFacts }
  /** Zones and server types. */
  | { readonly action: 'see'; readonly what: 'offer' }

/** The one function that decides who may do what; every edge asks it, and nothing else decides. */
export function may(session: Session, wish: Wish): Verdict {
  const infrastructure = session.permissions === 'full' && session.scopes.includes('infrastructure')
  if ('image' in wish) return mayImage(session, infrastructure, wish.action, wish.image)
  // What does not exist for somebody is not denied to him: the difference would tell that it exists.
  if ('account' in wish && wish.account !== session.accountId) return 'not_found'
  if ('server' in wish && wish.server.accountId !== session.accountId) return 'not_found'
  if ('user' in wish && !isKnown(session, wish.user)) return 'not_found'
  if (!infrastructure) return 'denied'
  if ('user' in wish && wish.action === 'change')
    return wish.user.id === session.userId ? 'allowed' : 'denied'
  return 'allowed'
}

function mayImage(
  session: Session,
  infrastructure: boolean,
  action: 'see' | 'list' | 'use' | 'change',
  image: ImageFacts,
): Verdict {
  if (!isVisible(session, image)) return 'not_found'
  const own = image.accountId === session.accountId
  if (action === 'use') {
    // The bytes are also an object of the owner's Orbit, so a session for storage only may read its own.
    return infrastructure || (own && session.scopes.includes('orbit')) ? 'allowed' : 'denied'
  }
  if (!infrastructure) return 'denied'
  if (action === 'change') return own ? 'allowed' : 'denied'
  // Old versions stay usable for those who know the id, but should not invite anybody new.
  if (action === 'list' && !own && image.status === 'deprecated') return 'denied'
  return 'allowed'
}

/** Others see a public image only once it can be used: its making and its end are its owner's business. */
function isVisible(session: Session, image: ImageFacts): boolean {
  if (image.status === 'deleted') return false
  return image.accountId === session.accountId || (image.public && hasBytes(image))
}

function isKnown(session: Session, user: UserFacts): boolean {
  return user.id === session.userId || user.accountIds.includes(session.accountId)
}
