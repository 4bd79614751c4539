import type { Api } from './api.ts'
import { ApiError, CommandError } from './failure.ts'
import { getImage, type ImageJson, stepOf } from './images.ts'
import { poll } from './poll.ts'
import { createProgressBar } from './progress-bar.ts'
import type { Session } from './session.ts'

/**
 * Follows a registration to its end and shows its progress on stderr.
 * @returns the image as it is then: available, failed, or whatever else it became
 */
export async function waitForImage(session: Session, api: Api, image: ImageJson): Promise<ImageJson> {
  const bar = createProgressBar(session.terminal, `Registering ${image.id}`)
  let interrupted = false
  try {
    const ended = await poll(session, image, {
      isUnderWay(latest) {
        if (latest.progress && latest.status === 'creating') bar.show(stepOf(latest.progress))
        return latest.status === 'creating'
      },
      read: () => getImage(api, image.id, `wait for image ${image.id}`),
    })
    if (ended.status === 'available' && ended.progress) bar.show(stepOf(ended.progress))
    return ended
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw goneError(image.id)
    if (session.signal.aborted) interrupted = true
    throw error
  } finally {
    bar.end()
    if (interrupted)
      session.terminal.info(`HINT: the library goes on; brightbox image wait ${image.id} follows it`)
  }
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
