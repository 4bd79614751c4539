import type { Content, Part } from '#base/content.ts'
import { LibraryError } from '#base/errors.ts'
import type { OwnSource } from '#data/disk/ingest-types.ts'
import type { FoundObject, OrbitPayload, StoredContent, StoredPart } from './deps.ts'

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
  return { content: storedContentOf(content), offset, length }
}

export const storedContentOf = (content: Content): StoredContent =>
  content.kind === 'manifest' ? content : { inline: Buffer.from(content.bytes).toString('base64') }

export const contentOf = (stored: StoredContent): Content =>
  'inline' in stored ? { kind: 'inline', bytes: Buffer.from(stored.inline, 'base64') } : stored

export const partsOf = ({ parts }: OrbitPayload): Part[] =>
  parts.map(({ content, offset, length }) => ({ content: contentOf(content), offset, length }))

/** What a job needs of the store. */
export const manifestsOf = ({ parts }: OrbitPayload): string[] =>
  parts.flatMap(({ content }) => ('inline' in content ? [] : [content.manifest]))

/** @param disk the manifest of just these bytes, where there is one */
export function toSource(payload: OrbitPayload, disk: string | undefined): OwnSource {
  const { url, etag, lastModified } = payload
  return { kind: 'parts', parts: partsOf(payload), disk, url, etag, lastModified }
}
