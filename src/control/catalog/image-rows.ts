import type { Arch, Failure, Image, ImageStatus, Progress, Provenance, SourceType } from '#model/image.ts'
import type { NestedImage, ShownImage } from '#model/shown-image.ts'
import type { ImageRow } from './schema.ts'
import { toRow } from './to-row.ts'

/** The columns of an ancestor that a listing joins in, each under `nested_`; all null where there is none. */
export const ANCESTOR_COLUMNS = [
  'id',
  'account_id',
  'name',
  'username',
  'status',
  'locked',
  'description',
  'source',
  'source_trigger',
  'arch',
  'created_at',
  'official',
  'public',
] as const

type AncestorColumn = (typeof ANCESTOR_COLUMNS)[number]
type Aliased = { [Column in AncestorColumn as `nested_${Column}`]: ImageRow[Column] | null }
export type ShownImageRow = ImageRow & Aliased

export function toImage(row: ImageRow): Image {
  return {
    id: row.id,
    accountId: row.account_id,
    name: row.name,
    arch: row.arch as Arch,
    status: row.status as ImageStatus,
    description: row.description,
    username: row.username,
    sourceType: row.source_type as SourceType,
    sourceTrigger: row.source_trigger as Image['sourceTrigger'],
    source: row.source,
    minRam: row.min_ram,
    public: row.public === 1,
    official: row.official === 1,
    compatibilityMode: row.compatibility_mode === 1,
    locked: row.locked === 1,
    licenceName: row.licence_name,
    ancestorId: row.ancestor_id,
    virtualSize: row.virtual_size,
    dataSize: row.data_size,
    manifest: row.manifest,
    provenance: JSON.parse(row.provenance) as Provenance,
    progress: row.progress === null ? null : (JSON.parse(row.progress) as Progress),
    damagedAt: row.damaged_at,
    failure: row.failure === null ? null : (JSON.parse(row.failure) as Failure),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

export function toShownImage(row: ShownImageRow): ShownImage {
  return { ...toImage(row), ancestor: toNestedImage(row) }
}

function toNestedImage(row: Aliased): NestedImage | null {
  if (row.nested_id === null || row.nested_account_id === null) return null
  return {
    id: row.nested_id,
    accountId: row.nested_account_id,
    name: row.nested_name ?? '',
    username: row.nested_username,
    status: row.nested_status as ImageStatus,
    locked: row.nested_locked === 1,
    description: row.nested_description,
    source: row.nested_source,
    sourceTrigger: row.nested_source_trigger as Image['sourceTrigger'],
    arch: row.nested_arch as Arch,
    createdAt: row.nested_created_at ?? 0,
    official: row.nested_official === 1,
    public: row.nested_public === 1,
  }
}

/** The columns of what is given; the rest stays as it is. */
export const toImageRow = (image: Partial<Omit<Image, 'id'>>) => toRow(image) as Partial<Omit<ImageRow, 'id'>>
