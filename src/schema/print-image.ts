import type { Static } from 'typebox'
import type { Failure, Progress, Provenance } from '#model/image.ts'
import type { NestedImage, ShownImage } from '#model/shown-image.ts'
import { printMebibytes, printTime, urlOf } from './fields.ts'
import type {
  FailureSchema,
  ImageJson,
  NestedImageSchema,
  ProgressSchema,
  SourceInfoSchema,
  UploadJson,
} from './image.ts'

export interface PrintImageOptions {
  /** Scheme and host that `url` begins with. */
  readonly base: string
  /** Where the bytes came from is their owner's business: left out for other accounts. */
  readonly own: boolean
}

export function printImage(image: ShownImage, { base, own }: PrintImageOptions): ImageJson {
  return {
    ...printNestedImage(image, base),
    source_type: image.sourceType,
    virtual_size: printMebibytes(image.virtualSize),
    disk_size: printMebibytes(image.dataSize),
    min_ram: image.minRam,
    compatibility_mode: image.compatibilityMode,
    licence_name: image.licenceName,
    ancestor: image.ancestor && printNestedImage(image.ancestor, base),
    updated_at: printTime(image.updatedAt),
    digest: image.manifest === null ? null : `sha256:${image.manifest}`,
    progress: image.progress && printProgress(image.progress),
    failure: image.failure && printFailure(image.failure),
    damaged_at: image.damagedAt === null ? null : printTime(image.damagedAt),
    source_info: own ? printSourceInfo(image.provenance) : null,
  }
}

/** An image inside another object. */
export function printNestedImage(image: NestedImage, base: string): Static<typeof NestedImageSchema> {
  return {
    id: image.id,
    resource_type: 'image',
    url: urlOf(base, 'images', image.id),
    name: image.name,
    username: image.username,
    status: image.status,
    locked: image.locked,
    description: image.description,
    source: image.source,
    source_trigger: image.sourceTrigger,
    arch: image.arch,
    created_at: printTime(image.createdAt),
    official: image.official,
    public: image.public,
    owner: image.accountId,
  }
}

const printProgress = (progress: Progress): Static<typeof ProgressSchema> => ({
  phase: progress.phase,
  percent: progress.percent,
  bytes_done: progress.bytesDone,
  bytes_total: progress.bytesTotal,
  rate: progress.rate,
  eta_seconds: progress.etaSeconds,
  attempt: progress.attempt,
  message: progress.message ?? null,
})

const printFailure = ({ code, message, hint }: Failure): Static<typeof FailureSchema> => ({
  code,
  message,
  hint,
})

const printSourceInfo = (provenance: Provenance): Static<typeof SourceInfoSchema> => ({
  url: provenance.url,
  final_url: provenance.finalUrl,
  format: provenance.formatChain,
  bytes: provenance.bytes,
  sha256: provenance.sha256,
  etag: provenance.etag,
  last_modified: provenance.lastModified,
  notes: [...provenance.notes],
})

export const printUpload = (upload: { received: number; limit: number; expiresAt: number }): UploadJson => ({
  offset: upload.received,
  limit: upload.limit,
  expires_at: printTime(upload.expiresAt),
})
