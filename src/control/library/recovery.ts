import type { Tables } from '#control/catalog/catalog.ts'
import { SYSTEM } from '#model/event.ts'
import type { Image } from '#model/image.ts'
import { record } from './access.ts'
import { removalOf } from './changing.ts'
import { type LibraryOptions, MAKING, REGISTRATION, REMOVAL, SNAPSHOT } from './deps.ts'
import { toFailure } from './failure.ts'

const PAGE = 1000

/**
 * Sees to it that nothing is stuck: every image that is creating or deleting has a job that ends that. Jobs and images
 * change in the same transactions, so only meddling or a restored backup can have parted them. Each process looks when
 * it starts, which keeps no other one from changing anything.
 */
export async function recover({
  catalog,
  now,
  log,
}: Pick<LibraryOptions, 'catalog' | 'now' | 'log'>): Promise<void> {
  for (const { id } of await catalog.snapshot(listStuck)) {
    await catalog.transaction(async (tables) => {
      const image = await tables.images.find(id)
      if (!image || (await tables.jobs.find(kindOf(image), id))) return
      const at = now()
      if (image.status === 'deleting') await tables.jobs.insert(removalOf(image, at, at))
      if (image.status !== 'creating') return
      log.warn({ image: id }, 'an image was creating without a job')
      const failure = toFailure(new Error('no job'))
      await tables.images.update(id, { status: 'failed', failure, updatedAt: at }, ['creating'])
      await record(tables, { image, action: 'image.failed', message: failure.message, actor: SYSTEM, at })
    })
  }
}

async function listStuck({ images, jobs }: Tables): Promise<Image[]> {
  const served = new Set<string>()
  for (let after = ''; ; ) {
    const page = await jobs.list([...MAKING, REMOVAL], after, PAGE)
    for (const { kind, subject } of page) served.add(`${kind} ${subject}`)
    after = page.at(-1)?.id ?? ''
    if (page.length < PAGE) break
  }
  const busy = [...(await images.listByStatus('creating')), ...(await images.listByStatus('deleting'))]
  return busy.filter((image) => !served.has(`${kindOf(image)} ${image.id}`))
}

/** Of the job that ends what the image is in. */
function kindOf({ status, sourceType }: Image): string {
  if (status === 'deleting') return REMOVAL
  return sourceType === 'snapshot' ? SNAPSHOT : REGISTRATION
}
