import type { ObjectRecord } from '#control/catalog/objects.ts'
import type { ObjectInfo } from './orbit.ts'

/** What reading an object comes to, where that is not what is stored under its name. */
export type Measure = Pick<ObjectInfo, 'size' | 'etag' | 'large'>

/** What is stored under an object's name: of a large object, what `?multipart-manifest=get` reads. */
export const measureStored = (record: Pick<ObjectRecord, 'size' | 'md5'>): Measure => ({
  size: record.size,
  etag: record.md5,
  large: undefined,
})

/** An object as it is shown to who reads it. */
export function infoOf(record: ObjectRecord, measure: Measure): ObjectInfo {
  const { name, contentType, headers, metadata, modifiedAt } = record
  return {
    name,
    contentType,
    headers,
    metadata,
    modifiedAt,
    ...measure,
    deleteAt: record.deleteAt ?? undefined,
    dynamicManifest: record.dynamicManifest ?? undefined,
    manifestEtag: record.large ? record.md5 : undefined,
  }
}
