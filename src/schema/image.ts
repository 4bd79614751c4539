import { type Static, Type } from 'typebox'
import { LibraryError } from '#base/errors.ts'
import { FAILURE_CODES } from '#base/failure-codes.ts'
import {
  identity,
  integer,
  nullable,
  nullableInteger,
  nullableLine,
  nullableNumber,
  nullableString,
  oneOf,
  time,
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
  message: nullableString('why the attempt before failed, while the next one is waited for'),
})

export const FailureSchema = Type.Object({
  code: oneOf(FAILURE_CODES, 'a stable word, for programs; the guide to refusals explains each'),
  message: Type.String({ description: 'what happened, one sentence' }),
  hint: Type.String({ description: 'what to do next, one sentence' }),
})

export const SourceInfoSchema = Type.Object({
  url: nullableString('as asked for, without user, password or signature'),
  final_url: nullableString('after redirects, cleaned in the same way'),
  format: nullableString('what the bytes were, outermost first: `raw`, `qcow2`, `xz+raw`'),
  bytes: nullableInteger('bytes received'),
  sha256: nullableString(
    'of the bytes as received, 64 hex digits; null where an object or upload became the image unread',
  ),
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
    damaged_at: nullableString(
      'since when some of its stored bytes are known to be damaged or missing: reads that need them fail; else null',
    ),
    source_info: nullable<Static<typeof SourceInfoSchema>>(SourceInfoSchema),
  },
  { $id: 'Image', description: 'A disk one can build servers from' },
)
export type ImageJson = Static<typeof ImageSchema>

/** MiB: 16 TiB. */
const MAX_MIN_RAM = 16 * 1024 * 1024

const changeable = {
  name: Type.Optional(nullableLine(255, 'null or empty: the library makes one')),
  username: Type.Optional(nullableLine(64, 'the login name inside the image')),
  description: Type.Optional(nullableString(undefined, 4096)),
  min_ram: Type.Optional(nullableInteger('MiB; 0 means none', MAX_MIN_RAM)),
  public: Type.Optional(Type.Boolean()),
  compatibility_mode: Type.Optional(Type.Boolean()),
}

export const ImageCreateSchema = Type.Object(
  {
    ...changeable,
    arch: oneOf(ARCHES),
    http_url: Type.Optional(
      nullableLine(
        8192,
        'an http or https URL that the library fetches; one of its own Orbit is read directly',
      ),
    ),
    upload: Type.Optional(Type.Boolean({ description: 'true: the bytes follow by PUT …/upload' })),
    checksum: Type.Optional(
      nullableLine(71, '`sha256:` and 64 hex digits that the received bytes must have'),
    ),
    server: Type.Optional(nullableLine(64, 'a server whose disk it becomes, as that is now')),
    volume: Type.Optional(nullableLine(64, 'a volume: a snapshot of its server')),
    source: Type.Optional(nullableLine(8192, 'the retired FTP upload; always refused')),
  },
  {
    $id: 'ImageCreate',
    description: 'Name exactly one of http_url, upload, server and volume',
    additionalProperties: false,
  },
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
  {
    offset: integer('bytes received so far'),
    limit: integer('bytes that an upload may have'),
    expires_at: time('after this an unfinished upload fails'),
  },
  { $id: 'Upload', description: 'How far an upload is' },
)
export type UploadJson = Static<typeof UploadSchema>

/** What a request to register asks for; the library applies the rules. */
export interface ParsedImageCreate {
  readonly arch: string
  readonly name?: string | null
  readonly username?: string | null
  readonly description?: string | null
  readonly minRam?: number | null
  readonly public?: boolean
  readonly compatibilityMode?: boolean
  readonly httpUrl?: string | null
  readonly upload?: boolean
  readonly checksum?: string | null
}

/**
 * Takes over what the library knows; the shape was checked against the schema before.
 * @throws invalid for the source of the Brightbox API that this library does not have
 */
export function parseImageCreate(body: ImageCreateJson): ParsedImageCreate {
  if (body.source) {
    throw new LibraryError('invalid', 'source: uploads by FTP are retired; use http_url or upload')
  }
  return {
    ...parseChanges(body),
    arch: body.arch,
    ...(body.http_url === undefined ? {} : { httpUrl: body.http_url }),
    ...(body.upload === undefined ? {} : { upload: body.upload }),
    ...(body.checksum === undefined ? {} : { checksum: body.checksum }),
  }
}

/** An image that is made of a server's disk: of which server, or of whose volume, and how it is to differ. */
export interface ParsedSnapshot {
  readonly of: { readonly server: string } | { readonly volume: string }
  readonly attributes: ParsedImageUpdate
}

/**
 * Undefined where the image is to be made of something else. The official command line sends every attribute, `false`,
 * null or 0 where its user said nothing: those leave the attribute as the server has it.
 * @throws invalid where several sources are named, or what only a download can have
 */
export function parseSnapshot(body: ImageCreateJson): ParsedSnapshot | undefined {
  const { server, volume } = body
  if (!server && !volume) return undefined
  for (const field of ['http_url', 'upload', 'source', 'checksum'] as const) {
    if (body[field]) {
      throw new LibraryError('invalid', `${field} cannot be given with ${server ? 'server' : 'volume'}`)
    }
  }
  if (server && volume) throw new LibraryError('invalid', 'volume cannot be given with server')
  const attributes = {
    arch: body.arch,
    ...(body.name ? { name: body.name } : {}),
    ...(body.username ? { username: body.username } : {}),
    ...(body.description ? { description: body.description } : {}),
    ...(body.min_ram ? { minRam: body.min_ram } : {}),
    ...(body.public ? { public: true } : {}),
    ...(body.compatibility_mode ? { compatibilityMode: true } : {}),
  }
  return { of: server ? { server } : { volume: volume ?? '' }, attributes }
}

export interface ParsedImageUpdate
  extends Omit<ParsedImageCreate, 'arch' | 'httpUrl' | 'upload' | 'checksum'> {
  readonly arch?: string
  readonly status?: string
}

/** An absent key changes nothing; null clears. */
export const parseImageUpdate = (body: ImageUpdateJson): ParsedImageUpdate => ({
  ...parseChanges(body),
  ...(body.arch === undefined ? {} : { arch: body.arch }),
  ...(body.status === undefined ? {} : { status: body.status }),
})

const parseChanges = (body: Omit<ImageUpdateJson, 'arch' | 'status'>) => ({
  ...(body.name === undefined ? {} : { name: body.name }),
  ...(body.username === undefined ? {} : { username: body.username }),
  ...(body.description === undefined ? {} : { description: body.description }),
  ...(body.min_ram === undefined ? {} : { minRam: body.min_ram }),
  ...(body.public === undefined ? {} : { public: body.public }),
  ...(body.compatibility_mode === undefined ? {} : { compatibilityMode: body.compatibility_mode }),
})
