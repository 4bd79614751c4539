import { type Static, Type } from 'typebox'
import { LibraryError } from '#base/errors.ts'
import { DISK_SIZE_MAX } from '#model/server-type.ts'
import { AccountReferenceSchema } from './account.ts'
import { identity, nullable, nullableInteger, nullableLine, nullableString, nullableTime } from './fields.ts'
import { NestedImageSchema } from './image.ts'
import { NestedServerSchema } from './nested-server.ts'
import { NestedServerTypeSchema, NestedZoneSchema } from './place.ts'
import { NestedVolumeSchema } from './volume.ts'

const InterfaceSchema = Type.Object({
  ...identity('int', 'interface'),
  mac_address: Type.String({ description: 'six bytes in hex with colons' }),
  ipv4_address: nullableString('always null here: the network, not the library, gives addresses'),
  ipv6_address: nullableString('always null here'),
})

export const TroubleSchema = Type.Object({
  message: Type.String({ description: 'what stands in its way, one sentence' }),
  hint: Type.String({ description: 'what to do next, one sentence' }),
})

const empty = Type.Array(Type.Unknown(), { description: 'always empty here', maxItems: 0 })

export const ServerSchema = Type.Object(
  {
    ...NestedServerSchema.properties,
    compatibility_mode: Type.Boolean({ description: 'emulated devices instead of virtio' }),
    disk_encrypted: Type.Boolean({ description: 'always false here' }),
    user_data: Type.Optional(nullableString('as it was sent; not in lists')),
    console_url: nullableString('set by activate_console; takes the token as `?password=`'),
    console_token: nullableString('in the answer to activate_console alone'),
    console_token_expires: nullableTime('after this the token opens nothing'),
    snapshots_schedule: nullableString('always null here'),
    snapshots_schedule_next_at: nullableTime('always null here'),
    snapshots_retention: nullableString('always null here'),
    account: AccountReferenceSchema,
    image: NestedImageSchema,
    server_type: NestedServerTypeSchema,
    zone: NestedZoneSchema,
    cloud_ips: empty,
    interfaces: Type.Array(InterfaceSchema),
    snapshots: Type.Array(NestedImageSchema, { description: 'images made of it, oldest first' }),
    server_groups: empty,
    volumes: Type.Array(NestedVolumeSchema),
    accelerator: Type.Unsafe<'kvm' | 'tcg' | null>({
      type: ['string', 'null'],
      enum: ['kvm', 'tcg', null],
      description: 'what it runs by, or ran by last: `kvm`, or emulation by `tcg`',
    }),
    ssh_host: nullableString("where the guest's port 22 is reached; null where none is forwarded"),
    ssh_port: nullableInteger('on that host', 65_535),
    trouble: nullable<Static<typeof TroubleSchema>>(TroubleSchema),
  },
  { $id: 'Server', description: 'A virtual machine built from an image' },
)
export type ServerJson = Static<typeof ServerSchema>

/** Characters: 64 KiB in Base64. */
const MAX_USER_DATA = 64 * 1024

const USER_DATA = Type.Optional(nullableString('for cloud-init, in Base64 or plain; 64 KiB', MAX_USER_DATA))

const GROUPS = Type.Unsafe<readonly string[] | null>({
  type: ['array', 'null'],
  items: { type: 'string', maxLength: 64 },
  maxItems: 100,
  description: 'this library has none',
})

const BuildVolumeSchema = Type.Object(
  {
    image: Type.Optional(nullableLine(64, 'an image')),
    size: Type.Optional(nullableInteger('MiB; null for the size of the type', DISK_SIZE_MAX)),
    volume: Type.Optional(nullableLine(64, 'always refused: a volume belongs to its server')),
  },
  { additionalProperties: false },
)

const retired = {
  snapshots_retention: Type.Optional(nullableLine(64, 'this library makes no snapshots by itself')),
  snapshots_schedule: Type.Optional(nullableLine(64, 'this library makes no snapshots by itself')),
}

export const ServerCreateSchema = Type.Object(
  {
    image: Type.Optional(nullableLine(64, 'an image')),
    volumes: Type.Optional(
      Type.Unsafe<readonly Static<typeof BuildVolumeSchema>[] | null>({
        type: ['array', 'null'],
        items: BuildVolumeSchema,
        maxItems: 1,
        description: 'an image, and a size where the disk is not to be as large as the type says',
      }),
    ),
    server_type: Type.Optional(nullableLine(64, 'an id or a handle; `1gb.ssd` where it is missing')),
    zone: Type.Optional(nullableLine(64, 'an id or a handle; the first one where it is missing')),
    name: Type.Optional(nullableLine(255, 'shown to people')),
    user_data: USER_DATA,
    compatibility_mode: Type.Optional(
      Type.Unsafe<boolean | null>({ type: ['boolean', 'null'], description: 'as the image says by default' }),
    ),
    server_groups: Type.Optional(GROUPS),
    cloud_ip: Type.Optional(
      Type.Unsafe<string | boolean | null>({
        type: ['string', 'boolean', 'null'],
        maxLength: 64,
        description: 'this library has none',
      }),
    ),
    disk_encrypted: Type.Optional(
      Type.Unsafe<boolean | null>({ type: ['boolean', 'null'], description: 'this library cannot' }),
    ),
    ...retired,
  },
  {
    $id: 'ServerCreate',
    description: 'Name exactly one of image and volumes',
    additionalProperties: false,
  },
)
export type ServerCreateJson = Static<typeof ServerCreateSchema>

export const ServerUpdateSchema = Type.Object(
  {
    name: Type.Optional(nullableLine(255, 'shown to people')),
    user_data: USER_DATA,
    compatibility_mode: Type.Optional(Type.Boolean({ description: 'from its next start on' })),
    server_groups: Type.Optional(GROUPS),
    ...retired,
  },
  { $id: 'ServerUpdate', additionalProperties: false, description: 'Only what is named changes' },
)
export type ServerUpdateJson = Static<typeof ServerUpdateSchema>

/** What a request to build asks for; whoever builds applies the rules. */
export interface ParsedServerCreate {
  readonly image?: string | null
  readonly volumes?: readonly { readonly image?: string | null; readonly size?: number | null }[] | null
  readonly serverType?: string | null
  readonly zone?: string | null
  readonly name?: string | null
  readonly userData?: string | null
  readonly compatibilityMode?: boolean | null
  readonly diskEncrypted?: boolean | null
  readonly cloudIp?: string | boolean | null
  readonly serverGroups?: readonly string[] | null
}

/**
 * Takes over what was asked for; the shape was checked against the schema before.
 * @throws invalid for what the Brightbox API has and this library has not
 */
export function parseServerCreate(body: ServerCreateJson): ParsedServerCreate {
  refuseSchedules(body)
  const { image, volumes, server_type, zone, name, user_data, compatibility_mode } = body
  if (volumes?.some(({ volume }) => volume)) {
    const hint = 'name an image; POST /1.0/images with a volume makes one of it'
    throw new LibraryError('invalid', 'volumes.0.volume: servers are built from images here', { hint })
  }
  return {
    ...(image === undefined ? {} : { image }),
    ...(volumes === undefined ? {} : { volumes }),
    ...(server_type === undefined ? {} : { serverType: server_type }),
    ...(zone === undefined ? {} : { zone }),
    ...(name === undefined ? {} : { name }),
    ...(user_data === undefined ? {} : { userData: user_data }),
    ...(compatibility_mode === undefined ? {} : { compatibilityMode: compatibility_mode }),
    ...(body.disk_encrypted === undefined ? {} : { diskEncrypted: body.disk_encrypted }),
    ...(body.cloud_ip === undefined ? {} : { cloudIp: body.cloud_ip }),
    ...(body.server_groups === undefined ? {} : { serverGroups: body.server_groups }),
  }
}

export interface ParsedServerUpdate {
  readonly name?: string | null
  readonly userData?: string | null
  readonly compatibilityMode?: boolean
}

/** An absent key changes nothing; null clears. @throws invalid as `parseServerCreate` */
export function parseServerUpdate(body: ServerUpdateJson): ParsedServerUpdate {
  refuseSchedules(body)
  if (body.server_groups?.length) {
    throw new LibraryError('invalid', 'server_groups: this library has no server groups')
  }
  return {
    ...(body.name === undefined ? {} : { name: body.name }),
    ...(body.user_data === undefined ? {} : { userData: body.user_data }),
    ...(body.compatibility_mode === undefined ? {} : { compatibilityMode: body.compatibility_mode }),
  }
}

function refuseSchedules(body: Pick<ServerCreateJson, 'snapshots_retention' | 'snapshots_schedule'>): void {
  for (const field of ['snapshots_schedule', 'snapshots_retention'] as const) {
    if (!body[field]) continue
    const hint = 'let a timer of yours call POST /1.0/servers/…/snapshot'
    throw new LibraryError('invalid', `${field}: this library makes no snapshots by itself`, { hint })
  }
}
