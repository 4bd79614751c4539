import type { Image, ImageStatus } from './image.ts'

const CHANGES: Readonly<Record<ImageStatus, readonly ImageStatus[]>> = {
  creating: ['available', 'failed', 'deleting'],
  available: ['deprecated', 'unavailable', 'deleting'],
  deprecated: ['available', 'unavailable', 'deleting'],
  unavailable: ['available', 'deprecated', 'deleting'],
  failed: ['deleting'],
  deleting: ['deleted'],
  deleted: [],
}

/** Says whether an image may ever go from one status to another. */
export function canChange(from: ImageStatus, to: ImageStatus): boolean {
  return CHANGES[from].includes(to)
}

/** Says whether an owner may set this status himself: only available to deprecated and back, or what it is already. */
export function canSetStatus(from: ImageStatus, to: ImageStatus): boolean {
  const own: readonly ImageStatus[] = ['available', 'deprecated']
  return own.includes(from) && own.includes(to)
}

/** The word people see: an available image is shown by who may use it. */
export function shownStatus(image: Pick<Image, 'status' | 'public'>): 'public' | 'private' | ImageStatus {
  if (image.status !== 'available') return image.status
  return image.public ? 'public' : 'private'
}

/** Says whether the image's bytes are complete and may be read. */
export function hasBytes(image: Pick<Image, 'status'>): boolean {
  return image.status === 'available' || image.status === 'deprecated'
}
