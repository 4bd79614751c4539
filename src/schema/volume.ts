import { type Static, Type } from 'typebox'
import type { Account } from '#model/account.ts'
import type { Server } from '#model/server.ts'
import type { NestedImage } from '#model/shown-image.ts'
import type { Volume } from '#model/volume.ts'
import type { Zone } from '#model/zone.ts'
import { AccountReferenceSchema, printAccountReference } from './account.ts'
import {
  identity,
  integer,
  nullableString,
  nullableTime,
  oneOf,
  printMebibytes,
  printNullableTime,
  printTime,
  time,
  urlOf,
} from './fields.ts'
import { NestedImageSchema } from './image.ts'
import { NestedServerSchema, printNestedServer } from './nested-server.ts'
import { NestedZoneSchema, printZone } from './place.ts'
import { printNestedImage } from './print-image.ts'

const FillSchema = Type.Object(
  {
    bytes_done: integer("bytes of the image's disk that the volume has by itself"),
    bytes_total: integer("bytes of the image's disk"),
    percent: Type.Integer({ minimum: 0, maximum: 100, description: '100 only once it stands alone' }),
    stands_alone: Type.Boolean({ description: 'the library is not needed to read it any more' }),
  },
  { description: "How much of the image was copied into the server's folder; nothing waits for it" },
)

const nestedVolume = {
  ...identity('vol', 'volume'),
  name: nullableString(),
  description: nullableString('always null here'),
  status: oneOf(['creating', 'attached', 'detached', 'deleting', 'deleted', 'failed']),
  boot: Type.Boolean({ description: 'always true here: a server has the one disk' }),
  delete_with_server: Type.Boolean({ description: 'always true here' }),
  encrypted: Type.Boolean({ description: 'always false here' }),
  filesystem_label: nullableString('always null here'),
  filesystem_type: nullableString('always null here'),
  locked: Type.Boolean({ description: 'as its server is' }),
  serial: Type.String({ description: 'what the guest sees as the serial number of its disk' }),
  size: integer('MiB that the guest sees'),
  source: Type.String({ description: 'the id of the image that it was made from' }),
  source_type: oneOf(['image', 'volume', 'raw']),
  storage_type: oneOf(['local', 'network']),
  created_at: time(),
  updated_at: time(),
  deleted_at: nullableTime('a destroyed volume stays readable for a while'),
  fill: FillSchema,
}

/** A volume inside its server. */
export const NestedVolumeSchema = Type.Object(nestedVolume)

export const VolumeSchema = Type.Object(
  {
    ...nestedVolume,
    account: AccountReferenceSchema,
    image: NestedImageSchema,
    server: NestedServerSchema,
    zone: NestedZoneSchema,
  },
  { $id: 'Volume', description: "A server's disk" },
)
export type VolumeJson = Static<typeof VolumeSchema>

/** A volume with what belongs to it. */
export interface VolumeView {
  readonly volume: Volume
  readonly account: Account
  readonly image: NestedImage
  readonly server: Server
  readonly zone: Zone
}

export const printVolume = (
  { volume, account, image, server, zone }: VolumeView,
  base: string,
): VolumeJson => ({
  ...printNestedVolume(volume, server, base),
  account: printAccountReference(account, base),
  image: printNestedImage(image, base),
  server: printNestedServer(server, base),
  zone: printZone(zone, base),
})

export const printNestedVolume = (
  volume: Volume,
  { locked }: Pick<Server, 'locked'>,
  base: string,
): Static<typeof NestedVolumeSchema> => ({
  id: volume.id,
  resource_type: 'volume',
  url: urlOf(base, 'volumes', volume.id),
  name: volume.name,
  description: null,
  status: volume.status,
  boot: true,
  delete_with_server: true,
  encrypted: false,
  filesystem_label: null,
  filesystem_type: null,
  locked,
  serial: volume.id,
  size: printMebibytes(volume.size),
  source: volume.imageId,
  source_type: 'image',
  storage_type: 'local',
  created_at: printTime(volume.createdAt),
  updated_at: printTime(volume.updatedAt),
  deleted_at: printNullableTime(volume.deletedAt),
  fill: printFill(volume),
})

const printFill = ({ filled, imageSize, standsAlone }: Volume): Static<typeof FillSchema> => ({
  bytes_done: filled,
  bytes_total: imageSize,
  percent: standsAlone ? 100 : Math.min(99, Math.floor((filled / Math.max(imageSize, 1)) * 100)),
  stands_alone: standsAlone,
})
