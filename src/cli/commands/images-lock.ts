import { CommandError } from '../failure.ts'
import { type ImageJson, imagePath, needImages } from '../images.ts'
import type { Session } from '../session.ts'

async function setLocked(session: Session, ids: readonly string[], locked: boolean) {
  const verb = locked ? 'lock' : 'unlock'
  if (ids.length === 0) throw new CommandError(`You must specify the images you want to ${verb}`)
  const { api } = await session.connect()
  const images = await needImages(api, ids, (id) => `Couldn't find ${id}`)
  const after: ImageJson[] = []
  for (const image of images) {
    session.terminal.info(`${locked ? 'Locking' : 'Unlocking'} ${image.id}`)
    const attempt = `${verb} image ${image.id}`
    after.push(await api.put<ImageJson>(imagePath(image.id, `/${verb}_resource`), { attempt }))
  }
  if (session.options.json) session.printJson(after.length === 1 ? after[0] : after)
}

/** A locked image refuses to be destroyed. */
export const lock = (session: Session, ids: readonly string[]) => setLocked(session, ids, true)
export const unlock = (session: Session, ids: readonly string[]) => setLocked(session, ids, false)
