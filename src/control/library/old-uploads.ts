import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isId } from '#model/ids.ts'
import { type LibraryOptions, REGISTRATION, type RegistrationPayload } from './deps.ts'

/**
 * Ends the uploads whose bytes the version before gathered in files of a folder, which nothing reads any more: those
 * files go, and their registrations fail with the reason.
 */
export async function endOldUploads({
  catalog,
  now,
  log,
  uploadFolder,
}: Pick<LibraryOptions, 'catalog' | 'now' | 'log' | 'uploadFolder'>): Promise<void> {
  for (const id of (await readdir(uploadFolder).catch(() => [])).filter((name) => isId('img', name))) {
    const wasWaiting = await catalog.transaction(async ({ jobs }) => {
      const job = await jobs.find(REGISTRATION, id)
      const payload = job?.payload as RegistrationPayload | undefined
      if (payload?.source !== 'upload' || payload.content) return false
      // Its source then says what is wrong.
      const at = now()
      return jobs.reschedule(REGISTRATION, id, {
        now: at,
        runAt: at,
        payload: { ...payload, complete: true },
      })
    })
    if (wasWaiting) log.warn({ image: id }, 'an upload to the version before cannot go on')
    // One that cannot be removed now can be at another start.
    await rm(join(uploadFolder, id), { force: true, recursive: true }).catch(() => {})
  }
  // What a stranger put there stays.
  await rmdir(uploadFolder).catch(() => {})
}
