import { CommandError } from '../failure.ts'
import { needImages, showImages } from '../images.ts'
import type { Session } from '../session.ts'

/** Shows all there is to know of images, one value a line. */
export async function run(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify the images you want to show')
  const { api } = await session.connect()
  await showImages(session, await needImages(api, ids, (id) => `Couldn't find an image with ID ${id}`))
}
