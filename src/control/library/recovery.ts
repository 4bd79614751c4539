import { SYSTEM } from '#model/event.ts'
import { record } from './access.ts'
import { removalOf } from './changing.ts'
import { type LibraryOptions, REGISTRATION, REMOVAL, SNAPSHOT } from './deps.ts'
import { toFailure } from './failure.ts'

/**
 * Sees to it that nothing is stuck: every image that is creating or deleting has a job that ends that.
 * Jobs and images change in the same transactions, so only meddling or a restored backup can
 * have parted them.
 */
export async function recover({
  catalog,
  now,
  log,
}: Pick<LibraryOptions, 'catalog' | 'now' | 'log'>): Promise<void> {
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
}
