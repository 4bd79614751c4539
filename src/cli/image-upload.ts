import { hash } from 'node:crypto'
import { CommandError } from './failure.ts'
import { openLocalFile } from './local-file.ts'
import { printPlace } from './orbit.ts'
import { putFile } from './put-file.ts'
import { removeObject } from './remove-object.ts'
import type { Connection, Session } from './session.ts'
import { makeTempUrl } from './temp-url.ts'

const CONTAINER = 'image-uploads'
/** What is left of an upload that nobody takes up again goes after this time. */
const KEPT_DAYS = 7
const KEPT_SECONDS = KEPT_DAYS * 86_400

/** A file that was put into Orbit to be registered from there. */
export interface ImageUpload {
  /** The file's own name. */
  readonly name: string
  /** What to register. */
  readonly url: string
  /** Removes it where it is needed no more, else says where it is. */
  end(isAvailable: boolean): Promise<void>
}

/** Puts a file where the same command finds it again, as long as its name, size and time are the same. */
export async function uploadImage(
  session: Session,
  connection: Connection,
  path: string,
): Promise<ImageUpload> {
  await using file = await openLocalFile(path)
  if (file.size === 0) throw new CommandError(`read ${path}: it is empty`)
  const orbit = await connection.orbit()
  const mark = hash('sha256', `${file.name} ${file.size} ${file.mtime}`, 'hex').slice(0, 8)
  const target = { container: CONTAINER, object: `${mark}/${file.name}` }
  await putFile({ session, orbit, file, target, deleteAfter: KEPT_SECONDS })
  const { url } = await makeTempUrl(orbit, target, { method: 'GET', seconds: KEPT_SECONDS })
  const stays = `the file stays in Orbit for ${KEPT_DAYS} days; brightbox orbit rm '${printPlace(target)}' removes it`
  return {
    name: file.name,
    url,
    async end(isAvailable) {
      const isGone = isAvailable && (await removeObject(orbit, target).then(YES, NO))
      if (!isGone) session.terminal.info(`HINT: ${stays}`)
    },
  }
}

const YES = () => true
const NO = () => false
