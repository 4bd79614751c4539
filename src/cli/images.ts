import type { ImageJson } from '#schema/image.ts'
import { createCollection } from './collection.ts'
import { CommandError } from './failure.ts'
import { printStep } from './progress-bar.ts'
import type { Session, ShownRecord } from './session.ts'
import type { Row } from './table.ts'
import { printDate, printTime } from './units.ts'

export type { ImageJson }

const FIELDS = ['id', 'owner', 'type', 'created_on', 'status', 'size', 'arch', 'name']

/** `official`, `upload` or `snapshot`. */
export const shownType = (image: ImageJson): string => (image.official ? 'official' : image.source_type)

/** The status as people see it: an available image is `public` or `private`. */
export function shownStatus(image: Pick<ImageJson, 'status' | 'public'>): string {
  if (image.status !== 'available') return image.status
  return image.public ? 'public' : 'private'
}

const imageRow = (image: ImageJson): Row => ({
  id: image.id,
  owner: image.official ? 'brightbox' : image.owner,
  type: shownType(image),
  created_on: printDate(image.created_at),
  status: shownStatus(image),
  size: image.virtual_size ?? 0,
  arch: image.arch,
  name: image.name,
})

/** The official client's fields in its order; then ours, where there is something to say. */
function imageRecord(image: ImageJson): ShownRecord {
  const official: ShownRecord = [
    ['id', image.id],
    ['type', shownType(image)],
    ['owner', image.official ? 'brightbox' : image.owner],
    ['created_at', printTime(image.created_at)],
    ['status', shownStatus(image)],
    ['locked', image.locked],
    ['arch', image.arch],
    ['name', image.name],
    ['description', image.description],
    ['username', image.username],
    ['virtual_size', image.virtual_size ?? 0],
    ['disk_size', image.disk_size ?? 0],
    ['public', image.public],
    ['compatibility_mode', image.compatibility_mode],
    ['official', image.official],
    ['ancestor_id', image.ancestor?.id],
    ['licence_name', image.licence_name],
    ['min_ram', image.min_ram ?? 0],
  ]
  const ours: ShownRecord = [
    ['digest', image.digest],
    ['format', image.source_info?.format],
    ...(image.source_info?.notes ?? []).map((note) => ['note', note] as const),
    ['progress', image.progress && image.status === 'creating' ? printStep(stepOf(image.progress)) : null],
    ['failure', image.failure ? `${image.failure.message} (${image.failure.code})` : null],
    ['hint', image.failure?.hint],
  ]
  return [...official, ...ours.filter(([, value]) => value !== null && value !== undefined && value !== '')]
}

/** The progress of a registration in our own words. */
export const stepOf = (progress: NonNullable<ImageJson['progress']>) => ({
  phase: progress.phase,
  percent: progress.percent,
  bytesDone: progress.bytes_done,
  bytesTotal: progress.bytes_total,
  rate: progress.rate,
  etaSeconds: progress.eta_seconds,
  attempt: progress.attempt,
  message: progress.message,
})

const IMAGES = createCollection<ImageJson>({
  name: 'images',
  word: 'image',
  hint: 'brightbox images list shows the images there are; an id looks like img-3ikco',
})
export const { path: imagePath, get: getImage, find: findImage, need: needImage } = IMAGES
export const { needAll: needImages, missing: missingImage } = IMAGES

/** Prints the list table. `--json` gets one object where one image was asked for, else an array. */
export async function printImages(session: Session, images: readonly ImageJson[], one = false) {
  session.printRows(FIELDS, images.map(imageRow), one ? images[0] : images)
  await rememberImages(session, images)
}

export async function showImages(session: Session, images: readonly ImageJson[]) {
  session.printRecords(images.map(imageRecord), images.length === 1 ? images[0] : images)
  await rememberImages(session, images)
}

async function rememberImages(session: Session, images: readonly ImageJson[]) {
  const config = await session.config()
  await config.cacheIds(images.map((image) => image.id))
}

export function parseMode(text: string): boolean {
  if (text === 'virtio') return false
  if (text === 'compatibility') return true
  throw new CommandError("Mode must be 'virtio' or 'compatibility'")
}

export function parseFlag(text: string, name: string): boolean {
  if (text === 'true') return true
  if (text === 'false') return false
  throw new CommandError(`${name} must be true or false`)
}
