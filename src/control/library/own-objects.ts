import type { Part } from '#base/content.ts'
import { LibraryError } from '#base/errors.ts'
import type { OwnSource } from '#data/disk/ingest-types.ts'
import type { FoundObject, OrbitPayload, StoredPart } from './deps.ts'

/** Parts that a job may remember, and bytes in them that are not in blocks. */
const PARTS_MAX = 10_000
const INLINE_MAX = 1024 * 1024

/**
 * What a job remembers of an object, so that the object may be removed or replaced before the job has begun.
 * @param url without its signature
 * @throws invalid where the object has too many segments
 */
export function toPayload(found: FoundObject, url: string, checksum: string | undefined): OrbitPayload {
  const { etag, lastModified } = found
  let inline = 0
  for (const { content } of found.parts) if (content.kind === 'inline') inline += content.bytes.length
  if (found.parts.length > PARTS_MAX || inline > INLINE_MAX) {
    throw new LibraryError('invalid', 'http_url names a large object of too many segments', {
      hint: 'Upload the image in fewer and larger segments, of 64 MiB for example.',
    })
  }
  return { source: 'orbit', url, parts: found.parts.map(toStored), etag, lastModified, checksum }
}

function toStored({ content, offset, length }: FoundObject['parts'][number]): StoredPart {
  if (content.kind === 'manifest') return { content, offset, length }
  return { content: { inline: Buffer.from(content.bytes).toString('base64') }, offset, length }
}

export const partsOf = ({ parts }: OrbitPayload): Part[] =>
  parts.map(({ content, offset, length }) =>
    'inline' in content
      ? { content: { kind: 'inline', bytes: Buffer.from(content.inline, 'base64') }, offset, length }
      : { content, offset, length },
  )

/** What a job needs of the store. */
export const manifestsOf = ({ parts }: OrbitPayload): string[] =>
  parts.flatMap(({ content }) => ('inline' in content ? [] : [content.manifest]))

/** @param disk the manifest of just these bytes, where there is one */
export function toSource(payload: OrbitPayload, disk: string | undefined): OwnSource {
  const { url, etag, lastModified } = payload
  return { kind: 'parts', parts: partsOf(payload), disk, url, etag, lastModified }
}
