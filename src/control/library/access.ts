import { LibraryError } from '#base/errors.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import type { Actor, EventAction } from '#model/event.ts'
import type { Image } from '#model/image.ts'
import { type ImageFacts, may } from '#model/may.ts'
import type { Session } from '#model/session.ts'
import type { ShownImage } from '#model/shown-image.ts'

/** Lets pass who may do this with the image. @throws not_found (also where there is none), denied */
export function demand<T extends ImageFacts>(
  session: Session,
  action: 'see' | 'use' | 'change',
  id: string,
  image: T | undefined,
): T {
  const verdict = image ? may(session, { action, image }) : 'not_found'
  if (image && verdict === 'allowed') return image
  if (image && verdict === 'denied') throw new LibraryError('denied', reasonOf(session, id, image))
  throw new LibraryError(
    'not_found',
    id === '' ? 'the id of an image is missing' : `image ${id} does not exist`,
  )
}

/** Why an image that is seen may not be used or changed. */
const reasonOf = (session: Session, id: string, image: ImageFacts): string =>
  image.accountId === session.accountId
    ? `image ${id} is out of reach of these credentials`
    : `image ${id} belongs to another account`

/** The ancestor stands in the answer only where the session may see it. */
export function hideAncestor(session: Session, image: ShownImage): ShownImage {
  const { ancestor } = image
  if (!ancestor || may(session, { action: 'see', image: ancestor }) === 'allowed') return image
  return { ...image, ancestor: null }
}

export const actorOf = ({ clientId, userId }: Session): Actor => ({ clientId, userId })

export interface Happening {
  readonly image: Pick<Image, 'id' | 'accountId'>
  readonly action: EventAction
  readonly message: string
  readonly actor: Actor
  readonly at: number
}

/** Writes down a change of an image's state, in the transaction that makes it. */
export async function record(
  tables: Tables,
  { image, action, message, actor, at }: Happening,
): Promise<void> {
  const { id: resourceId, accountId } = image
  await tables.events.add({ resourceId, accountId, action, message, actor, createdAt: at })
}
