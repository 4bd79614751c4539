import { CommandError } from '../failure.ts'
import { findImage, type ImageJson, imagePath, needImages, printImages } from '../images.ts'
import type { Session } from '../session.ts'

/** Destroys images; one that is still being registered is cancelled by it. */
export async function run(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify the images you want to destroy')
  const { api } = await session.connect()
  const images = await needImages(api, ids, (id) => `Couldn't find image ${id}`)
  const after: ImageJson[] = []
  for (const image of images) {
    session.terminal.info(`Destroying image ${image.id}`)
    const answer = await api.delete<ImageJson>(imagePath(image.id), { attempt: `destroy image ${image.id}` })
    after.push((await findImage(api, image.id)) ?? answer)
  }
  await printImages(session, after, ids.length === 1)
}
