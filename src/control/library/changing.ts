import { LibraryError } from '#base/errors.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import type { EventAction } from '#model/event.ts'
import { SYSTEM } from '#model/event.ts'
import { type Image, type ImageStatus, NEW_IMAGE, NO_PROVENANCE } from '#model/image.ts'
import { canChange, canSetStatus } from '#model/image-rules.ts'
import { may } from '#model/may.ts'
import type { Session } from '#model/session.ts'
import type { ShownImage } from '#model/shown-image.ts'
import { actorOf, demand, hideAncestor, record } from './access.ts'
import {
  fileNameOf,
  generateName,
  readRegisterAttributes,
  readUpdateAttributes,
  readUrl,
} from './attributes.ts'
import {
  type Asker,
  type FoundObject,
  type LibraryOptions,
  MAKING,
  REGISTRATION,
  REMOVAL,
  type RegistrationPayload,
} from './deps.ts'
import type { Feed } from './feed.ts'
import type { Library } from './library.ts'
import { toPayload } from './own-objects.ts'
import { type ProgressBoard, uploadProgress, waitingProgress } from './progress-board.ts'
import type { Receiving } from './receiving.ts'
import { UPLOAD_MS } from './upload-payload.ts'
import type { UploadRoom } from './upload-room.ts'

/** The official command line reads an image again right after destroying it: it should then still see its end. */
const REMOVAL_DELAY_MS = 2000

type Changing = Pick<Library, 'register' | 'update' | 'destroy' | 'lock' | 'unlock'> & {
  setOfficial(id: string, official: boolean): Promise<Image>
}

export interface ChangingDeps {
  readonly options: RegisterOptions & Pick<LibraryOptions, 'catalog' | 'jobs' | 'onVolumeRead'>
  readonly board: ProgressBoard
  readonly feed: Feed
  readonly receiving: Receiving
  readonly room: UploadRoom
}

type RegisterOptions = Pick<LibraryOptions, 'findObject' | 'parseSourceUrl' | 'redactUrl' | 'now'>

/** What a change comes to: what becomes of the image, and how that is told; `undefined` where all is so already. */
type Change =
  | { readonly set: Partial<Image>; readonly action: EventAction; readonly message: string }
  | undefined

export function createChanging({ options, board, feed, receiving, room }: ChangingDeps): Changing {
  const { catalog, jobs, now } = options

  /** Reads, checks and changes an image in one transaction. */
  async function change(
    session: Session,
    id: string,
    decide: (image: ShownImage, tables: Tables) => Change | Promise<Change>,
  ): Promise<ShownImage> {
    const changed = await catalog.transaction(async (tables) => {
      const image = demand(session, 'change', id, await tables.images.findShown(id))
      const decided = await decide(image, tables)
      if (!decided) return image
      const at = now()
      const set = { ...decided.set, updatedAt: at }
      const updated = await tables.images.update(id, set, [image.status])
      await record(tables, {
        image,
        action: decided.action,
        message: decided.message,
        actor: actorOf(session),
        at,
      })
      return { ...image, ...updated }
    })
    feed.wake()
    return board.refresh(hideAncestor(session, changed))
  }

  const setLocked = (session: Session, id: string, locked: boolean) =>
    change(session, id, (image) => {
      if (image.locked === locked) return undefined
      const word = locked ? 'locked' : 'unlocked'
      return { set: { locked }, action: `image.${word}`, message: `The image was ${word}.` }
    })

  return {
    async register(session, attributes, asker) {
      const verdict = may(session, { action: 'create', what: 'image' })
      if (verdict !== 'allowed') throw new LibraryError('denied', 'register an image')
      const wanted = readRegisterAttributes(attributes)
      // Its manifests are kept from collection until the job says that it needs them.
      await using found = await findOwn(wanted.httpUrl, asker, options)
      const { payload, image } = readRegistration(wanted, found, options)
      const at = now()
      const made = await catalog.transaction(async (tables) => {
        const { accountId } = session
        await room.demandImage(tables, accountId, payload.source === 'upload')
        const made = await tables.images.insert({ ...image, accountId, createdAt: at, updatedAt: at })
        const runAt = payload.source === 'upload' ? at + UPLOAD_MS : at
        await tables.jobs.insert({
          kind: REGISTRATION,
          subject: made.id,
          accountId,
          payload,
          runAt,
          createdAt: at,
        })
        const message = 'The image was registered.'
        await record(tables, {
          image: made,
          action: 'image.registered',
          message,
          actor: actorOf(session),
          at,
        })
        return made
      })
      feed.wake()
      void jobs.poll()
      return { ...made, ancestor: null }
    },
    async update(session, id, attributes) {
      const wanted = readUpdateAttributes(attributes)
      return change(session, id, (image) => {
        if (image.status === 'deleting') throw new LibraryError('conflict', `image ${id} is being deleted`)
        const { status } = wanted
        if (status !== undefined && !canSetStatus(image.status, status)) {
          throw new LibraryError(
            'conflict',
            `status of image ${id} cannot become ${status} while it is ${image.status}`,
          )
        }
        const fields = Object.entries(wanted).filter(([key, value]) => image[key as keyof Image] !== value)
        if (fields.length === 0) return undefined
        return {
          set: wanted,
          ...describe(
            fields.map(([key]) => key),
            wanted.status,
          ),
        }
      })
    },
    async destroy(session, id) {
      const image = await change(session, id, async (image, tables) => {
        if (image.locked) {
          throw new LibraryError('conflict', `image ${id} is locked`, {
            hint: 'Unlock it first.',
          })
        }
        if (!canChange(image.status, 'deleting')) return undefined
        const at = now()
        for (const kind of MAKING) await tables.jobs.remove(kind, id)
        await tables.jobs.insert(removalOf(image, at + REMOVAL_DELAY_MS, at))
        return {
          set: { status: 'deleting' },
          action: 'image.deleting',
          message: 'The image is being deleted.',
        }
      })
      for (const kind of MAKING) jobs.cancel(kind, id)
      // What still reads the disk for a moment publishes nothing any more.
      if (image.sourceType === 'snapshot' && image.source !== null) options.onVolumeRead?.(image.source)
      receiving.end(id)
      return image
    },
    lock: (session, id) => setLocked(session, id, true),
    unlock: (session, id) => setLocked(session, id, false),
    async setOfficial(id, official) {
      const changed = await catalog.transaction(async (tables) => {
        const image = await tables.images.find(id)
        if (!image || image.status === 'deleted')
          throw new LibraryError('not_found', `image ${id} does not exist`)
        if (image.official === official) return image
        const at = now()
        const statuses: ImageStatus[] = [image.status]
        const updated = await tables.images.update(id, { official, updatedAt: at }, statuses)
        const action = official ? 'image.official' : 'image.unofficial'
        const message = `The operator ${official ? 'made the image official' : 'took the official mark off the image'}.`
        await record(tables, { image, action, message, actor: SYSTEM, at })
        return updated ?? image
      })
      feed.wake()
      return changed
    },
  }
}

/** The job that ends a deletion. */
export function removalOf(image: Pick<Image, 'id' | 'accountId'>, runAt: number, createdAt: number) {
  return { kind: REMOVAL, subject: image.id, accountId: image.accountId, payload: {}, runAt, createdAt }
}

function describe(
  fields: readonly string[],
  status: 'available' | 'deprecated' | undefined,
): { action: EventAction; message: string } {
  if (!fields.includes('status')) {
    const names = fields.map((field) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))
    return { action: 'image.updated', message: `Changed: ${names.join(', ')}.` }
  }
  return status === 'deprecated'
    ? { action: 'image.deprecated', message: 'The image was deprecated.' }
    : { action: 'image.restored', message: 'The image is no longer deprecated.' }
}

/** An object of our own that is to become an image. */
async function findOwn(httpUrl: string | null, asker: Asker | undefined, { findObject }: RegisterOptions) {
  return httpUrl === null ? undefined : findObject(httpUrl, asker)
}

/** A new image and what its registration needs to know, from what a client sent. */
function readRegistration(
  { httpUrl, checksum, name, ...own }: ReturnType<typeof readRegisterAttributes>,
  found: FoundObject | undefined,
  { parseSourceUrl, redactUrl, now }: RegisterOptions,
): { payload: RegistrationPayload; image: Omit<Image, 'id' | 'accountId' | 'createdAt' | 'updatedAt'> } {
  const url = httpUrl === null ? undefined : found ? new URL(httpUrl) : readUrl(httpUrl, parseSourceUrl)
  const fileName = url ? fileNameOf(url) : null
  return {
    payload: payloadOf(url, found, { checksum, redactUrl }),
    image: {
      ...own,
      ...NEW_IMAGE,
      name: name ?? generateName(fileName, now()),
      sourceType: 'upload',
      sourceTrigger: 'manual',
      source: fileName,
      licenceName: null,
      ancestorId: null,
      provenance: { ...NO_PROVENANCE, url: url ? redactUrl(url) : null },
      progress: url ? waitingProgress(1) : uploadProgress(0, undefined),
    },
  }
}

function payloadOf(
  url: URL | undefined,
  found: FoundObject | undefined,
  { checksum, redactUrl }: { checksum: string | undefined } & Pick<LibraryOptions, 'redactUrl'>,
): RegistrationPayload {
  if (!url) return { source: 'upload', complete: false, checksum }
  return found ? toPayload(found, redactUrl(url), checksum) : { source: 'http', url: url.href, checksum }
}
