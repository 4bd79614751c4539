import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Event } from '#model/event.ts'
import { isId } from '#model/ids.ts'
import type { Image } from '#model/image.ts'
import { hasBytes } from '#model/image-rules.ts'
import { firstMatch, foldName, WORDS_LENGTH_MAX } from '#model/image-words.ts'
import { may, type ServerFacts } from '#model/may.ts'
import type { Session } from '#model/session.ts'
import type { ShownImage } from '#model/shown-image.ts'
import { demand, hideAncestor } from './access.ts'
import { invalid, readName } from './attributes.ts'
import type { Feed } from './feed.ts'
import type { Library } from './library.ts'
import type { ProgressBoard } from './progress-board.ts'

const LIMIT_MAX = 1000

type Reading = Pick<Library, 'list' | 'show' | 'use' | 'events' | 'watch' | 'serverTypes' | 'zones'>

export interface ReadingDeps {
  readonly catalog: Catalog
  readonly board: ProgressBoard
  readonly feed: Feed
}

export function createReading({ catalog, board, feed }: ReadingDeps): Reading {
  async function show(session: Session, id: string): Promise<ShownImage> {
    const image = demand(session, 'see', id, await catalog.images.findShown(id))
    return board.refresh(hideAncestor(session, image))
  }

  async function findLast(session: Session, id: string): Promise<Image> {
    const image = await catalog.images.find(id)
    // One's own may have been deleted since the page before: its place in the order is still the same.
    const own = image?.accountId === session.accountId
    if (image && (own || may(session, { action: 'see', image }) === 'allowed')) return image
    throw notTheLast()
  }

  function search({ accountId }: Session, text: string, last: Image | undefined, page: { limit?: number }) {
    const beginning = readBeginning(text)
    const words = last && firstMatch(last.name, beginning)
    // It may have been renamed since the page before.
    if (last && words === undefined) throw notTheLast()
    const after = last && words !== undefined ? { after: { id: last.id, words } } : {}
    return catalog.images.listNamed(accountId, { beginning, ...after, ...page })
  }

  /** Whose events are to be read: those of an image or a server only its owner may, also after its end. */
  async function eventScope(session: Session, id: string | undefined) {
    demandAccount(session)
    if (id === undefined) return { accountId: session.accountId, resourceId: undefined }
    if (isId('srv', id)) {
      demandServer(session, id, await catalog.servers.find(id))
      return { accountId: session.accountId, resourceId: id }
    }
    const image = await catalog.images.find(id)
    if (image?.accountId !== session.accountId) demand(session, 'change', id, image)
    return { accountId: session.accountId, resourceId: id }
  }

  return {
    async list(session, { limit, after, name } = {}) {
      demandAccount(session)
      readLimit(limit)
      const last = after === undefined ? undefined : await findLast(session, after)
      const page = limit === undefined ? {} : { limit }
      const images =
        name === undefined
          ? await catalog.images.listVisible(session.accountId, { ...(last ? { after: last } : {}), ...page })
          : await search(session, name, last, page)
      return images
        .filter((image) => may(session, { action: 'list', image }) === 'allowed')
        .map((image) => board.refresh(hideAncestor(session, image)))
    },
    show,
    async use(session, id) {
      const image = demand(session, 'use', id, await catalog.images.findShown(id))
      const { manifest } = image
      if (!hasBytes(image) || manifest === null) {
        throw new LibraryError('conflict', `image ${id} is ${image.status}: it has no bytes to read`)
      }
      return { ...hideAncestor(session, image), manifest }
    },
    async events(session, id, { after = 0, limit = LIMIT_MAX } = {}): Promise<Event[]> {
      readLimit(limit)
      return catalog.events.list({ ...(await eventScope(session, id)), after, limit })
    },
    async *watch(session, id, after, signal) {
      yield* feed.watch({ ...(await eventScope(session, id)), after, signal })
    },
    async serverTypes(session) {
      demandOffer(session)
      return catalog.serverTypes.list()
    },
    async zones(session) {
      demandOffer(session)
      return catalog.zones.list()
    },
  }
}

const notTheLast = () => invalid('after', 'must be the id of the last image of the page before')

/** The beginning of a word that is looked for, as it is compared. */
function readBeginning(text: string): string {
  const beginning = foldName(readName(text) ?? '')
  if (beginning === '') throw invalid('name', 'must hold more than white space')
  if ([...beginning].length > WORDS_LENGTH_MAX)
    throw invalid('name', `must be at most ${WORDS_LENGTH_MAX} characters`)
  return beginning
}

function readLimit(limit: number | undefined): void {
  if (limit === undefined || (Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX)) return
  throw invalid('limit', `must be a whole number from 1 to ${LIMIT_MAX}`)
}

function demandAccount(session: Session): void {
  if (may(session, { action: 'see', account: session.accountId }) === 'allowed') return
  throw new LibraryError('denied', `see the images of account ${session.accountId}`)
}

function demandServer(session: Session, id: string, server: ServerFacts | undefined): void {
  const verdict = server ? may(session, { action: 'see', server }) : 'not_found'
  if (verdict === 'not_found') throw new LibraryError('not_found', `server ${id} does not exist`)
  if (verdict === 'denied') throw new LibraryError('denied', `see server ${id}`)
}

function demandOffer(session: Session): void {
  if (may(session, { action: 'see', what: 'offer' }) === 'allowed') return
  throw new LibraryError('denied', 'see zones and server types')
}
