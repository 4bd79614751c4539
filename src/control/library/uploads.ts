import { LibraryError } from '#base/errors.ts'
import type { Catalog, Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import type { Actor } from '#model/event.ts'
import type { Image } from '#model/image.ts'
import type { Session } from '#model/session.ts'
import { actorOf, demand, record } from './access.ts'
import { type LibraryOptions, REGISTRATION, type RegistrationPayload, type UploadPayload } from './deps.ts'
import type { Feed } from './feed.ts'
import type { Library, Upload } from './library.ts'
import { type ProgressBoard, uploadProgress, waitingProgress } from './progress-board.ts'
import { UPLOAD_MS, type UploadFiles } from './upload-files.ts'
import type { UploadRoom } from './upload-room.ts'

export interface UploadsDeps {
  readonly options: Pick<LibraryOptions, 'catalog' | 'jobs' | 'limits' | 'now' | 'reserve'>
  readonly board: ProgressBoard
  readonly feed: Feed
  readonly files: UploadFiles
  readonly room: UploadRoom
}

/**
 * Bytes that come to us instead of being fetched. The registration's job exists from the start: put off until the
 * upload counts as abandoned, and brought forward when it is complete.
 */
export function createUploads({ options, board, feed, files, room }: UploadsDeps): Library['uploads'] {
  const { catalog, jobs, limits, now, reserve } = options

  async function findOpen(tables: Pick<Catalog, 'images' | 'jobs'>, session: Session, id: string) {
    const image = demand(session, 'change', id, await tables.images.findShown(id))
    const job = image.status === 'creating' ? await tables.jobs.find(REGISTRATION, id) : undefined
    if (!job || !isWaiting(job)) throw new LibraryError('conflict', `image ${id} waits for no upload`)
    return { image, job, payload: job.payload as UploadPayload }
  }

  /** An upload that moves is not abandoned. */
  async function postpone(
    session: Session,
    id: string,
    received: number,
    said: Pick<UploadPayload, 'total' | 'safe'>,
  ): Promise<Upload> {
    const at = now()
    const expiresAt = at + UPLOAD_MS
    await catalog.relaxed(async (tables) => {
      const { image, payload } = await findOpen(tables, session, id)
      const known = { ...payload, ...said }
      await room.demandBytes(tables, image.accountId, id, Math.max(received, known.total ?? 0))
      const change = { now: at, runAt: expiresAt, payload: known }
      if (!(await tables.jobs.reschedule(REGISTRATION, id, change))) {
        throw new LibraryError('conflict', `the upload of image ${id} has expired`)
      }
      await tables.images.saveProgress(id, uploadProgress(received, known.total), 0, 0)
    })
    return { received, limit: limits.sourceSize, expiresAt }
  }

  return {
    async show(session, id) {
      const { job } = await findOpen(catalog, session, id)
      return { received: await files.sizeOf(id), limit: limits.sourceSize, expiresAt: job.runAt }
    },
    async receive(session, id, offset, bytes, { signal, total }) {
      const { accountId } = (await findOpen(catalog, session, id)).image
      // Before the look that counts, so that whoever removes the upload after it ends this.
      using taken = files.take(id)
      try {
        const size = await files.sizeOf(id)
        if (offset !== size) throw wrongOffset(id, size)
        const said = total === undefined ? {} : { total }
        await postpone(session, id, size, said)
        // What else is announced must find room beside it.
        using space = reserve.promise(Math.max(0, (total ?? size) - size))
        const onProgress = (received: number) => {
          space.set(Math.max(0, (total ?? received) - received))
          board.uploading(id, received, total)
        }
        const { removed } = taken
        const options = { limit: limits.sourceSize, signal, removed, onProgress }
        const watched = room.watch(bytes, { accountId, id, offset })
        const received = await files.append(id, offset, watched, options)
        return await postpone(session, id, received, { ...said, safe: received })
      } finally {
        board.end(id)
      }
    },
    async finish(session, id) {
      if (files.isReceiving(id))
        throw new LibraryError('conflict', `image ${id} is still receiving its upload`)
      const received = await files.sizeOf(id)
      if (received === 0) throw new LibraryError('conflict', `the upload of image ${id} holds no bytes yet`)
      const finished = await catalog.transaction(async (tables) => {
        const { image, payload } = await findOpen(tables, session, id)
        const updated = await completeUpload(tables, {
          image,
          payload,
          received,
          actor: actorOf(session),
          at: now(),
        })
        return { ...image, ...updated }
      })
      feed.wake()
      void jobs.poll()
      return finished
    },
  }
}

export interface Completion {
  readonly image: Image
  readonly payload: UploadPayload
  readonly received: number
  readonly actor: Actor
  readonly at: number
}

/** Lets the registration of an upload start whose bytes are all there. */
export async function completeUpload(tables: Tables, completion: Completion): Promise<Image | undefined> {
  const { image, payload, received, actor, at } = completion
  const complete = { now: at, runAt: at, payload: { ...payload, complete: true } }
  await tables.jobs.reschedule(REGISTRATION, image.id, complete)
  const set = { progress: waitingProgress(1), updatedAt: at }
  const updated = await tables.images.update(image.id, set, ['creating'])
  const message = `The upload is complete: ${received} bytes.`
  await record(tables, { image, action: 'image.uploaded', message, actor, at })
  return updated
}

const wrongOffset = (id: string, size: number) =>
  new LibraryError('conflict', `the upload of image ${id} goes on at offset ${size}`, {
    hint: `Send what is missing, with Content-Range: bytes ${size}-LAST/TOTAL; or destroy the image and begin anew.`,
  })

function isWaiting(job: Job): boolean {
  const payload = job.payload as RegistrationPayload
  return payload.source === 'upload' && !payload.complete
}
