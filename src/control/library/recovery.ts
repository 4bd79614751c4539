import { SYSTEM } from '#model/event.ts'
import { record } from './access.ts'
import { removalOf } from './changing.ts'
import { type LibraryOptions, REGISTRATION, REMOVAL, type RegistrationPayload, SNAPSHOT } from './deps.ts'
import { toFailure } from './failure.ts'
import type { UploadFiles } from './upload-files.ts'
import { completeUpload } from './uploads.ts'

/**
 * Sees to it that nothing is stuck: every image that is creating or deleting has a job that ends that, and no upload
 * outlives its image. Jobs and images change in the same transactions, so only meddling or a restored backup can
 * have parted them.
 */
export async function recover(
  { catalog, now, log }: Pick<LibraryOptions, 'catalog' | 'now' | 'log'>,
  files: UploadFiles,
): Promise<void> {
  await catalog.transaction(async (tables) => {
    const at = now()
    for (const image of await tables.images.listByStatus('creating')) {
      const kind = image.sourceType === 'snapshot' ? SNAPSHOT : REGISTRATION
      if (await tables.jobs.find(kind, image.id)) continue
      log.warn({ image: image.id }, 'an image was creating without a job')
      const failure = toFailure(new Error('no job'))
      await tables.images.update(image.id, { status: 'failed', failure, updatedAt: at }, ['creating'])
      await record(tables, { image, action: 'image.failed', message: failure.message, actor: SYSTEM, at })
    }
    for (const image of await tables.images.listByStatus('deleting')) {
      if (!(await tables.jobs.find(REMOVAL, image.id))) await tables.jobs.insert(removalOf(image, at, at))
    }
  })
  for (const id of await files.list()) {
    await resumeUpload({ catalog, now }, files, id)
    const image = await catalog.images.find(id)
    if (image?.status !== 'creating') await files.remove(id)
  }
}

/** All bytes of an upload had come, but the process died before it could take note of that. */
async function resumeUpload(
  { catalog, now }: Pick<LibraryOptions, 'catalog' | 'now'>,
  files: UploadFiles,
  id: string,
) {
  const received = await files.sizeOf(id)
  await catalog.transaction(async (tables) => {
    const image = await tables.images.find(id)
    const job = image?.status === 'creating' ? await tables.jobs.find(REGISTRATION, id) : undefined
    if (!image || !job) return
    const payload = job.payload as RegistrationPayload
    if (payload.source !== 'upload' || payload.complete) return
    if (payload.safe !== received || payload.total !== received) return
    await completeUpload(tables, { image, payload, received, actor: SYSTEM, at: now() })
  })
}
