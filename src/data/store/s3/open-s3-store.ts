import type { Store } from '../store.ts'
import { createS3Client } from './client.ts'
import { credentialsOf } from './credentials.ts'
import type { S3Objects } from './objects.ts'
import type { S3Place } from './place.ts'
import { createS3Store } from './store.ts'

/** Opens the store at a place; connections are made when they are needed. */
export function openS3Store(place: S3Place): Store {
  return createS3Store({ objects: openObjects(place) })
}

const openObjects = (place: S3Place): S3Objects =>
  createS3Client({ address: place, credentials: credentialsOf(place) })

/**
 * What lies in the quarantine.
 * @param leastAgeMs for so long, in milliseconds
 * @param remove whether to delete it
 */
export async function countS3Quarantine(
  place: S3Place,
  leastAgeMs: number,
  remove: boolean,
): Promise<{ readonly files: number; readonly bytes: number }> {
  await using objects = openObjects(place)
  const counts = { files: 0, bytes: 0 }
  for await (const { key, size, ageMs } of objects.list('quarantine/')) {
    if (ageMs < leastAgeMs) continue
    if (remove) await objects.delete(key)
    counts.files++
    counts.bytes += size
  }
  return counts
}
