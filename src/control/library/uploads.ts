import { LibraryError } from '#base/errors.ts'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { Image } from '#model/image.ts'
import type { Session } from '#model/session.ts'
import { actorOf, demand, record } from './access.ts'
import { type LibraryOptions, REGISTRATION, type UploadPayload } from './deps.ts'
import type { Feed } from './feed.ts'
import type { Library, Received, Upload } from './library.ts'
import { contentOf, storedContentOf } from './own-objects.ts'
import { type ProgressBoard, uploadProgress, waitingProgress } from './progress-board.ts'
import type { Receiving } from './receiving.ts'
import { endedBy, type Growth, UploadPart } from './upload-part.ts'
import { receivedOf, UPLOAD_MS, waitingUpload } from './upload-payload.ts'
import type { UploadRoom } from './upload-room.ts'

export interface UploadsDeps {
  readonly options: Pick<
    LibraryOptions,
    'catalog' | 'jobs' | 'limits' | 'now' | 'reserve' | 'seats' | 'openEditor'
  >
  readonly board: ProgressBoard
  readonly feed: Feed
  readonly receiving: Receiving
  readonly room: UploadRoom
}

/** An upload that waits for bytes, as a transaction reads it. */
interface Waiting {
  readonly image: Image
  readonly payload: UploadPayload
}

/** The bytes of a part, and who is asked before they are taken, and told after. */
interface Coming {
  readonly part: UploadPart<Received>
  readonly bytes: AsyncIterable<Uint8Array>
  /** The client's. */
  readonly signal: AbortSignal
  readonly admit: (size: number) => Promise<void>
  readonly onSize: (size: number) => void
}

/** What a client says of the whole upload. */
type Said = Pick<UploadPayload, 'total'>

/**
 * Bytes that come to us instead of being fetched. The registration's job exists from the start: put off until the
 * upload counts as abandoned, and brought forward when it is complete. It names what has come, which lies in the store;
 * nothing of an upload is in this process alone but what came since that was last written down.
 */
export function createUploads({ options, board, feed, receiving, room }: UploadsDeps): Library['uploads'] {
  const { catalog, jobs, limits, now, reserve, seats, openEditor } = options

  async function findOpen(tables: Pick<Catalog, 'images' | 'jobs'>, session: Session, id: string) {
    const image = demand(session, 'change', id, await tables.images.findShown(id))
    const job = image.status === 'creating' ? await tables.jobs.find(REGISTRATION, id) : undefined
    const payload = waitingUpload(job)
    if (!job || !payload) throw new LibraryError('conflict', `image ${id} waits for no upload`)
    return { image, job, payload }
  }

  /** The same where it is as long as whoever asks takes it to be. Another process may be receiving it, too. */
  async function findAt(tables: Tables, session: Session, id: string, offset: number): Promise<Waiting> {
    const { image, payload } = await findOpen(tables, session, id)
    const received = receivedOf(payload)
    if (received !== offset) throw wrongOffset(id, received)
    return { image, payload }
  }

  /** An upload that moves is not abandoned. */
  async function postpone(tables: Tables, { image, payload }: Waiting): Promise<Upload> {
    const at = now()
    const { id, accountId } = image
    const received = receivedOf(payload)
    await room.demandBytes(tables, accountId, id, Math.max(received, payload.total ?? 0))
    const expiresAt = at + UPLOAD_MS
    await reschedule(tables, id, { now: at, runAt: expiresAt, payload })
    await tables.images.saveProgress(id, uploadProgress(received, payload.total), 0, 0)
    return { received, limit: limits.sourceSize, expiresAt }
  }

  /** Lets the registration start. */
  async function complete(tables: Tables, session: Session, { image, payload }: Waiting) {
    const at = now()
    const change = { now: at, runAt: at, payload: { ...payload, complete: true } }
    await reschedule(tables, image.id, change)
    const set = { progress: waitingProgress(1), updatedAt: at }
    const updated = await tables.images.update(image.id, set, ['creating'])
    const message = `The upload is complete: ${receivedOf(payload)} bytes.`
    await record(tables, { image, action: 'image.uploaded', message, actor: actorOf(session), at })
    return updated
  }

  function wake(): void {
    feed.wake()
    void jobs.poll()
  }

  /** What is told to have come survives whatever happens. */
  async function grow(session: Session, id: string, said: Said, growth: Growth): Promise<Received> {
    const { from, size, content } = growth
    // What is on its way to the catalog would else overwrite what is said here.
    await board.end(id)
    const received = await catalog.transaction(async (tables) => {
      const { image, payload } = await findAt(tables, session, id, from)
      const waiting = { image, payload: { ...payload, ...said, content: storedContentOf(content) } }
      const upload = await postpone(tables, waiting)
      const isComplete = size > 0 && size === said.total
      if (isComplete) await complete(tables, session, waiting)
      return { ...upload, isComplete }
    })
    if (received.isComplete) wake()
    return received
  }

  /** Takes in all bytes of a part; those that came before an error are kept, too. */
  async function take({ part, bytes, signal, admit, onSize }: Coming): Promise<Received> {
    try {
      for await (const chunk of bytes) {
        signal.throwIfAborted()
        const size = part.size + chunk.length
        if (size > limits.sourceSize)
          throw new LibraryError('too_large', `receive an upload of more than ${limits.sourceSize} bytes`)
        await admit(size)
        reserve.demand(chunk.length)
        await part.write(chunk)
        onSize(part.size)
      }
    } catch (error) {
      await part.record().catch(() => {})
      throw error
    }
    return part.record()
  }

  return {
    async show(session, id) {
      const { job, payload } = await findOpen(catalog, session, id)
      return { received: receivedOf(payload), limit: limits.sourceSize, expiresAt: job.runAt }
    },
    async receive(session, id, offset, bytes, { signal, total }) {
      const { accountId } = (await findOpen(catalog, session, id)).image
      // Before the look that counts, so that whoever ends the upload after it ends this.
      using taken = receiving.take(id)
      using seat = seats.enter(accountId)
      seat.add(1)
      try {
        const said = total === undefined ? {} : { total }
        const { content } = await catalog.relaxed(async (tables) => {
          const { image, payload } = await findAt(tables, session, id, offset)
          await postpone(tables, { image, payload: { ...payload, ...said } })
          return payload
        })
        // What else is announced must find room beside it.
        using space = reserve.promise(Math.max(0, (total ?? offset) - offset))
        using quota = room.watch(accountId, id)
        // Not by the client's signal: what came before it went away is kept.
        const held = { signal: taken.ended, holds: true, unsummed: true }
        await using editor = await openEditor(content && contentOf(content), held)
        const part = new UploadPart({ editor, record: (growth) => grow(session, id, said, growth), now })
        return await take({
          part,
          bytes: endedBy(taken.ended, bytes),
          signal,
          admit: (size) => quota.demand(size),
          onSize(size) {
            space.set(Math.max(0, (total ?? size) - size))
            board.uploading(id, size, total)
          },
        })
      } finally {
        await board.end(id)
      }
    },
    async finish(session, id) {
      if (receiving.has(id)) throw new LibraryError('conflict', `image ${id} is still receiving its upload`)
      const finished = await catalog.transaction(async (tables) => {
        const { image, payload } = await findOpen(tables, session, id)
        if (receivedOf(payload) === 0)
          throw new LibraryError('conflict', `the upload of image ${id} holds no bytes yet`)
        return { ...image, ...(await complete(tables, session, { image, payload })) }
      })
      wake()
      return finished
    },
  }
}

/** @throws conflict where its time was over, and the end of it is under way */
async function reschedule({ jobs }: Tables, id: string, change: Parameters<Tables['jobs']['reschedule']>[2]) {
  if (!(await jobs.reschedule(REGISTRATION, id, change)))
    throw new LibraryError('conflict', `the upload of image ${id} has expired`)
}

const wrongOffset = (id: string, size: number) =>
  new LibraryError('conflict', `the upload of image ${id} goes on at offset ${size}`, {
    hint: `Send what is missing, with Content-Range: bytes ${size}-LAST/TOTAL; or destroy the image and begin anew.`,
  })
