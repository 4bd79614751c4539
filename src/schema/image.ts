import { type Static, Type } from 'typebox'
import { LibraryError } from '#base/errors.ts'
import type { Failure, Image, Progress, Provenance } from '#model/image.ts'
import {
  identity,
  integer,
  nullable,
  nullableInteger,
  nullableLine,
  nullableNumber,
  nullableString,
  oneOf,
  printMebibytes,
  printTime,
  time,
  urlOf,
} from './fields.ts'

export const IMAGE_STATUSES = [
  'creating',
  'available',
  'deprecated',
  'unavailable',
  'deleting',
  'deleted',
  'failed',
] as const
export const ARCHES = ['x86_64', 'i686'] as const
export const IMAGE_FORMS = ['lz4', 'raw', 'qcow2'] as const
export type ImageForm = (typeof IMAGE_FORMS)[number]

export const ProgressSchema = Type.Object({
  phase: oneOf(['waiting', 'uploading', 'connecting', 'receiving', 'decoding', 'saving', 'done']),
  percent: nullableNumber('0 to 100; 100 only once the image is available; null while the total is unknown'),
  bytes_done: integer('bytes received'),
  bytes_total: nullableInteger('bytes that will be received, where the source says'),
  rate: nullableNumber('bytes per second over the last seconds'),
  eta_seconds: nullableNumber('seconds left at this rate'),
  attempt: integer('1 for the first try'),
})

export const FailureSchema = Type.Object({
  code: Type.String({ description: 'a stable word, for programs; see the guide to refusals' }),
  message: Type.String({ description: 'what happened, one sentence' }),
  hint: Type.String({ description: 'what to do next, one sentence' }),
})

export const SourceInfoSchema = Type.Object({
  url: nullableString('as asked for, without user, password or signature'),
  final_url: nullableString('after redirects, cleaned in the same way'),
  format: nullableString('what the bytes were, outermost first: `raw`, `qcow2`, `xz+raw`'),
  bytes: nullableInteger('bytes received'),
  sha256: nullableString('of the bytes as received, 64 hex digits'),
  etag: nullableString('as the source sent it'),
  last_modified: nullableString('as the source sent it'),
  notes: Type.Array(Type.String(), { description: 'things worth knowing, one sentence each' }),
})

const nestedImage = {
  ...identity('img', 'image'),
  name: Type.String(),
  username: nullableString('the login name inside the image'),
  status: oneOf(IMAGE_STATUSES),
  locked: Type.Boolean({ description: 'a locked image cannot be destroyed' }),
  description: nullableString(),
  source: nullableString('the file name for an upload, the server for a snapshot'),
  source_trigger: oneOf(['manual', 'schedule']),
  arch: oneOf(ARCHES),
  created_at: time(),
  official: Type.Boolean({ description: 'provided by the operator' }),
  public: Type.Boolean({ description: 'listed for every account' }),
  owner: Type.String({ description: 'the id of the account' }),
}

export const NestedImageSchema = Type.Object(nestedImage)

export const ImageSchema = Type.Object(
  {
    ...nestedImage,
    source_type: oneOf(['upload', 'snapshot']),
    virtual_size: integer('MiB of the disk that a server sees'),
    disk_size: integer('MiB of it that are not zeros; grows during registration'),
    min_ram: nullableInteger('MiB that a server needs at least'),
    compatibility_mode: Type.Boolean({ description: 'servers get emulated devices instead of virtio' }),
    licence_name: nullableString(),
    ancestor: nullable<Static<typeof NestedImageSchema>>(NestedImageSchema),
    updated_at: time(),
    digest: nullableString('`sha256:` and 64 hex digits: names the disk content, equal for equal disks'),
    progress: nullable<Static<typeof ProgressSchema>>(ProgressSchema),
    failure: nullable<Static<typeof FailureSchema>>(FailureSchema),
    source_info: nullable<Static<typeof SourceInfoSchema>>(SourceInfoSchema),
  },
  { $id: 'Image', description: 'A disk one can build servers from' },
)
export type ImageJson = Static<typeof ImageSchema>

const MAX_MIN_RAM = 2 ** 31 - 1

const changeable = {
  name: Type.Optional(nullableLine(255, 'null or empty: the library makes one')),
  username: Type.Optional(nullableLine(255, 'the login name inside the image')),
  description: Type.Optional(nullableString(undefined, 16_384)),
  min_ram: Type.Optional(nullableInteger('MiB; 0 means none', MAX_MIN_RAM)),
  public: Type.Optional(Type.Boolean()),
  compatibility_mode: Type.Optional(Type.Boolean()),
}

export const ImageCreateSchema = Type.Object(
  {
    ...changeable,
    arch: oneOf(ARCHES),
    http_url: Type.Optional(nullableLine(8192, 'an http or https URL that the library fetches')),
    upload: Type.Optional(Type.Boolean({ description: 'true: the bytes follow by PUT …/upload' })),
    checksum: Type.Optional(
      nullableLine(71, '`sha256:` and 64 hex digits that the received bytes must have'),
    ),
    server: Type.Optional(nullableLine(64, 'a server to snapshot')),
    volume: Type.Optional(nullableLine(64, 'a volume to copy')),
    source: Type.Optional(nullableLine(8192, 'the retired FTP upload; always refused')),
  },
  { $id: 'ImageCreate', additionalProperties: false },
)
export type ImageCreateJson = Static<typeof ImageCreateSchema>

export const ImageUpdateSchema = Type.Object(
  {
    ...changeable,
    arch: Type.Optional(oneOf(ARCHES)),
    status: Type.Optional(oneOf(['available', 'deprecated'])),
  },
  { $id: 'ImageUpdate', additionalProperties: false, description: 'Only what is named changes' },
)
export type ImageUpdateJson = Static<typeof ImageUpdateSchema>

export const UploadSchema = Type.Object(
  { offset: integer('bytes received so far'), total: nullableInteger('bytes in all, once known') },
  { $id: 'Upload' },
)
export type UploadJson = Static<typeof UploadSchema>

/** What a registration asks for, after the request's shape and rules were checked. */
export interface ParsedImageCreate {
  readonly name: string | null
  readonly arch: 'x86_64' | 'i686'
  readonly username: string | null
  readonly description: string | null
  readonly minRam: number | null
  readonly public: boolean
  readonly compatibilityMode: boolean
  readonly source: { readonly kind: 'http'; readonly url: string } | { readonly kind: 'upload' }
  /** 64 hex digits. */
  readonly sha256: string | null
}

/**
 * Applies the rules that span fields; the shape was checked against the schema before.
 * @throws invalid, naming the field and the rule
 */
export function parseImageCreate(body: ImageCreateJson): ParsedImageCreate {
  return {
    ...parseTexts(body),
    arch: body.arch,
    minRam: body.min_ram || null,
    public: body.public ?? false,
    compatibilityMode: body.compatibility_mode ?? false,
    source: parseSource(body),
    sha256: body.checksum ? parseChecksum(body.checksum) : null,
  }
}

const parseTexts = (body: ImageCreateJson) => ({
  name: body.name || null,
  username: body.username || null,
  description: body.description || null,
})

function parseSource(body: ImageCreateJson): ParsedImageCreate['source'] {
  if (body.server || body.volume) {
    const field = body.server ? 'server' : 'volume'
    throw new LibraryError('invalid', `${field}: this library has no ${field}s yet; use http_url or upload`)
  }
  if (body.source) {
    throw new LibraryError('invalid', 'source: uploads by FTP are retired; use http_url or upload')
  }
  if (body.upload === true && body.http_url) {
    throw new LibraryError('invalid', 'http_url and upload exclude each other: name exactly one source')
  }
  if (body.upload === true) return { kind: 'upload' }
  if (!body.http_url) {
    throw new LibraryError('invalid', 'http_url is required (or upload: true to send the bytes yourself)')
  }
  return { kind: 'http', url: parseUrl(body.http_url) }
}

function parseUrl(text: string): string {
  const url = URL.parse(text)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new LibraryError('invalid', 'http_url must be an absolute http or https URL')
  }
  return url.href
}

/**
 * Reads `sha256:` and 64 hex digits; the prefix may be left off.
 * @returns the digits in lower case
 * @throws invalid
 */
export function parseChecksum(text: string): string {
  const digits = /^(?:sha256:)?([0-9a-f]{64})$/i.exec(text)?.[1]
  if (!digits) throw new LibraryError('invalid', 'checksum must be sha256: and 64 hex digits')
  return digits.toLowerCase()
}

export interface ParsedImageUpdate {
  readonly name?: string | null
  readonly username?: string | null
  readonly description?: string | null
  readonly arch?: 'x86_64' | 'i686'
  readonly minRam?: number | null
  readonly public?: boolean
  readonly compatibilityMode?: boolean
  readonly status?: 'available' | 'deprecated'
}

/** An absent key changes nothing; null and the empty string clear. */
export function parseImageUpdate(body: ImageUpdateJson): ParsedImageUpdate {
  return {
    ...(body.name === undefined ? {} : { name: body.name || null }),
    ...(body.username === undefined ? {} : { username: body.username || null }),
    ...(body.description === undefined ? {} : { description: body.description || null }),
    ...(body.arch === undefined ? {} : { arch: body.arch }),
    ...(body.min_ram === undefined ? {} : { minRam: body.min_ram || null }),
    ...(body.public === undefined ? {} : { public: body.public }),
    ...(body.compatibility_mode === undefined ? {} : { compatibilityMode: body.compatibility_mode }),
    ...(body.status === undefined ? {} : { status: body.status }),
  }
}

export interface PrintImageOptions {
  /** Scheme and host that `url` begins with. */
  readonly base: string
  /** The image that this one was built from, where it is still known and visible. */
  readonly ancestor?: Image
  /** Where the bytes came from is its owner's business: left out for other accounts. */
  readonly withSource: boolean
}

export function printImage(image: Image, { base, ancestor, withSource }: PrintImageOptions): ImageJson {
  return {
    ...printNestedImage(image, base),
    source_type: image.sourceType,
    virtual_size: printMebibytes(image.virtualSize),
    disk_size: printMebibytes(image.dataSize),
    min_ram: image.minRam,
    compatibility_mode: image.compatibilityMode,
    licence_name: image.licenceName,
    ancestor: ancestor ? printNestedImage(ancestor, base) : null,
    updated_at: printTime(image.updatedAt),
    digest: image.manifest === null ? null : `sha256:${image.manifest}`,
    progress: withSource && image.progress ? printProgress(image.progress) : null,
    failure: withSource ? printFailure(image.failure) : null,
    source_info: withSource ? printSourceInfo(image.provenance) : null,
  }
}

function printNestedImage(image: Image, base: string): Static<typeof NestedImageSchema> {
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
})

const printFailure = (failure: Failure | null): Static<typeof FailureSchema> | null =>
  failure && { code: failure.code, message: failure.message, hint: failure.hint }

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
