import type { Insertable, Selectable, Updateable } from 'kysely'
import type { Content } from '#base/content.ts'
import type { Metadata } from '#model/orbit.ts'
import type { ListedObject, ObjectChange, ObjectRecord, StoredObject } from './objects.ts'
import type { ObjectRow } from './schema-orbit.ts'

/** An object's row with its bytes, where it has some of its own. */
export type WholeObjectRow = Selectable<ObjectRow> & { readonly bytes: Uint8Array | null }

export type ListedObjectRow = Pick<
  Selectable<ObjectRow>,
  'name' | 'size' | 'md5' | 'static_size' | 'static_etag' | 'content_type' | 'delete_at' | 'modified_at'
>

export function toListedObject(row: ListedObjectRow): ListedObject {
  const { static_size: size, static_etag: etag } = row
  return {
    name: row.name,
    size: row.size,
    md5: row.md5,
    large: size === null || etag === null ? null : { size, etag },
    contentType: row.content_type,
    deleteAt: row.delete_at,
    modifiedAt: row.modified_at,
  }
}

export function toObject(row: WholeObjectRow): StoredObject {
  return {
    ...toListedObject(row),
    headers: JSON.parse(row.headers) as Metadata,
    metadata: JSON.parse(row.metadata) as Metadata,
    dynamicManifest: row.dynamic_manifest,
    content: toContent(row),
    bytesId: row.bytes_id,
  }
}

function toContent({ manifest, form, size, bytes }: WholeObjectRow): Content {
  if (manifest !== null) return { kind: 'manifest', manifest, form: form as 'raw' | 'lz4' | 'qcow2', size }
  return { kind: 'inline', bytes: bytes ?? new Uint8Array() }
}

export function toObjectRow(
  containerId: number,
  object: ObjectRecord,
  bytesId: number | null,
): Insertable<ObjectRow> {
  const { content } = object
  return {
    container_id: containerId,
    name: object.name,
    size: object.size,
    md5: object.md5,
    static_size: object.large?.size ?? null,
    static_etag: object.large?.etag ?? null,
    content_type: object.contentType,
    headers: JSON.stringify(object.headers),
    metadata: JSON.stringify(object.metadata),
    dynamic_manifest: object.dynamicManifest,
    delete_at: object.deleteAt,
    modified_at: object.modifiedAt,
    bytes_id: bytesId,
    manifest: content.kind === 'manifest' ? content.manifest : null,
    form: content.kind === 'manifest' ? content.form : null,
  }
}

export function toChangedRow(change: ObjectChange): Updateable<ObjectRow> {
  const { contentType, headers, metadata, dynamicManifest, deleteAt, modifiedAt } = change
  return {
    ...(contentType === undefined ? {} : { content_type: contentType }),
    ...(headers === undefined ? {} : { headers: JSON.stringify(headers) }),
    ...(metadata === undefined ? {} : { metadata: JSON.stringify(metadata) }),
    ...(dynamicManifest === undefined ? {} : { dynamic_manifest: dynamicManifest }),
    ...(deleteAt === undefined ? {} : { delete_at: deleteAt }),
    ...(modifiedAt === undefined ? {} : { modified_at: modifiedAt }),
  }
}
