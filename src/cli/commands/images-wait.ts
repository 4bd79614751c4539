import { CommandError } from '../failure.ts'
import { needImages, printImages } from '../images.ts'
import type { Session } from '../session.ts'
import { assertUsable, waitForImage } from '../wait.ts'

/** Waits until registrations have ended; fails with the reason of the first that failed. */
export async function run(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify the images you want to wait for')
  const { api } = await session.connect()
  const images = await needImages(api, ids, (id) => `Couldn't find image ${id}`)
  const ended = []
  for (const image of images) ended.push(await waitForImage(session, api, image))
  await printImages(session, ended, ids.length === 1)
  ended.forEach(assertUsable)
}
