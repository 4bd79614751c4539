import { LibraryError } from '#base/errors.ts'
import type { Catalog } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import type { Session } from '#model/session.ts'
import { actorOf, demand, record } from './access.ts'
import { type LibraryOptions, REGISTRATION, type RegistrationPayload } from './deps.ts'
import type { Feed } from './feed.ts'
import type { Library, Upload } from './library.ts'
import { waitingProgress } from './progress-board.ts'
import { UPLOAD_MS, type UploadFiles } from './upload-files.ts'

export interface UploadsDeps {
  readonly options: Pick<LibraryOptions, 'catalog' | 'jobs' | 'limits' | 'now'>
  readonly feed: Feed
  readonly files: UploadFiles
}

type UploadPayload = Extract<RegistrationPayload, { source: 'upload' }>

/**
 * Bytes that come to us instead of being fetched. The registration's job exists from the start: put off until the
 * upload counts as abandoned, and brought forward when it is complete.
 */
export function createUploads({ options, feed, files }: UploadsDeps): Library['uploads'] {
  const { catalog, jobs, limits, now } = options
  const receiving = new Set<string>()

  async function findOpen(tables: Pick<Catalog, 'images' | 'jobs'>, session: Session, id: string) {
    const image = demand(session, 'change', id, await tables.images.findShown(id))
    const job = image.status === 'creating' ? await tables.jobs.find(REGISTRATION, id) : undefined
    if (!job || !isWaiting(job)) throw new LibraryError('conflict', `image ${id} waits for no upload`)
    return { image, job, payload: job.payload as UploadPayload }
  }

  /** An upload that moves is not abandoned. */
  async function postpone(session: Session, id: string, received: number): Promise<Upload> {
    const expiresAt = now() + UPLOAD_MS
    await catalog.relaxed(async (tables) => {
      const { payload } = await findOpen(tables, session, id)
      if (!(await tables.jobs.reschedule(REGISTRATION, id, expiresAt, payload))) {
        throw new LibraryError('conflict', `the upload of image ${id} has expired`)
      }
      await tables.images.saveProgress(id, { ...waitingProgress('uploading', 1), bytesDone: received }, 0, 0)
    })
    return { received, limit: limits.sourceSize, expiresAt }
  }

  return {
    async show(session, id) {
      const { job } = await findOpen(catalog, session, id)
      return { received: await files.sizeOf(id), limit: limits.sourceSize, expiresAt: job.runAt }
    },
    async receive(session, id, offset, bytes, signal) {
      await findOpen(catalog, session, id)
      if (receiving.has(id))
        throw new LibraryError('conflict', `image ${id} is receiving another part of its upload`)
      receiving.add(id)
      try {
        const size = await files.sizeOf(id)
        if (offset !== size)
          throw new LibraryError('conflict', `the upload of image ${id} goes on at offset ${size}`)
        await postpone(session, id, size)
        const received = await files.append(id, offset, bytes, { limit: limits.sourceSize, signal })
        return await postpone(session, id, received)
      } finally {
        receiving.delete(id)
      }
    },
    async finish(session, id) {
      if (receiving.has(id)) throw new LibraryError('conflict', `image ${id} is still receiving its upload`)
      const received = await files.sizeOf(id)
      if (received === 0) throw new LibraryError('conflict', `the upload of image ${id} holds no bytes yet`)
      const finished = await catalog.transaction(async (tables) => {
        const { image, payload } = await findOpen(tables, session, id)
        const at = now()
        await tables.jobs.reschedule(REGISTRATION, id, at, { ...payload, complete: true })
        const progress = waitingProgress('waiting', 1)
        const updated = await tables.images.update(id, { progress, updatedAt: at }, ['creating'])
        const message = `The upload is complete: ${received} bytes.`
        await record(tables, { image, action: 'image.uploaded', message, actor: actorOf(session), at })
        return { ...image, ...updated }
      })
      feed.wake()
      void jobs.poll()
      return finished
    },
  }
}

function isWaiting(job: Job): boolean {
  const payload = job.payload as RegistrationPayload
  return payload.source === 'upload' && !payload.complete
}
