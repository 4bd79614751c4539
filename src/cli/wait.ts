import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from './api.ts'
import { ApiError, CommandError } from './failure.ts'
import { getImage, type ImageJson, stepOf } from './images.ts'
import { createProgressBar } from './progress-bar.ts'
import { isPassing } from './retry.ts'
import type { Session } from './session.ts'

const FIRST_POLL_MS = 100
const SLOWEST_POLL_MS = 1000
/** A library that restarts takes its registrations up again, so a wait outlives it. */
const PATIENCE_MS = 60_000

/**
 * Follows a registration to its end and shows its progress on stderr.
 * @returns the image as it is then: available, failed, or whatever else it became
 */
export async function waitForImage(session: Session, api: Api, image: ImageJson): Promise<ImageJson> {
  const bar = createProgressBar(session.terminal, `Registering ${image.id}`)
  let latest = image
  let pollMs = FIRST_POLL_MS
  let interrupted = false
  let silentSince: number | undefined
  try {
    while (latest.status === 'creating') {
      if (latest.progress) bar.show(stepOf(latest.progress))
      await sleep(pollMs, undefined, { signal: session.signal })
      pollMs = Math.min(SLOWEST_POLL_MS, pollMs * 1.5)
      try {
        latest = await getImage(api, image.id, `wait for image ${image.id}`)
        silentSince = undefined
      } catch (error) {
        silentSince ??= Date.now()
        if (!isPassing(error) || Date.now() - silentSince > PATIENCE_MS) throw error
      }
    }
    if (latest.status === 'available' && latest.progress) bar.show(stepOf(latest.progress))
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw goneError(image.id)
    if (session.signal.aborted) interrupted = true
    throw error
  } finally {
    bar.end()
    if (interrupted)
      session.terminal.info(`HINT: the library goes on; brightbox image wait ${image.id} follows it`)
  }
  return latest
}

const goneError = (id: string) =>
  new CommandError(`register image ${id}: it was destroyed before it became available`)

/** @throws why the image cannot be used, with what to do next */
export function assertUsable(image: ImageJson): void {
  if (image.status === 'available' || image.status === 'deprecated') return
  if (image.status === 'deleting' || image.status === 'deleted') throw goneError(image.id)
  const { failure } = image
  if (!failure) throw new CommandError(`register image ${image.id}: it is ${image.status}`)
  throw new CommandError(
    `register image ${image.id}: ${failure.message.replace(/\.$/, '')} (${failure.code})`,
    {
      ...(failure.hint ? { hint: failure.hint } : {}),
    },
  )
}
