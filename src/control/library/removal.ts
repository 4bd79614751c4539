import type { Tables } from '#control/catalog/catalog.ts'
import type { Job } from '#control/catalog/jobs.ts'
import type { JobHandler, JobRun } from '#control/jobs/queue.ts'
import { SYSTEM } from '#model/event.ts'
import { record } from './access.ts'
import type { Feed } from './feed.ts'

export interface RemovalDeps {
  readonly now: () => number
  readonly feed: Feed
}

/** Ends a deletion. The image's blocks are left to collection, as others may share them. */
export function createRemoval({ now, feed }: RemovalDeps): JobHandler {
  async function end(tables: Tables, job: Job) {
    const at = now()
    const image = { id: job.subject, accountId: job.accountId }
    await tables.images.update(image.id, { status: 'deleted', updatedAt: at }, ['deleting'])
    const message = 'The image was deleted.'
    await record(tables, { image, action: 'image.deleted', message, actor: SYSTEM, at })
  }

  return {
    async run({ job, finish }: JobRun) {
      await finish((tables) => end(tables, job))
      feed.wake()
    },
    async retrying() {},
    failed: end,
    async settled() {
      feed.wake()
    },
  }
}
