import { type Static, Type } from 'typebox'
import type { ServerType } from '#model/server-type.ts'
import type { Zone } from '#model/zone.ts'
import { identity, integer, nullableString, oneOf, urlOf } from './fields.ts'

export const ZoneSchema = Type.Object(
  { ...identity('zon', 'zone'), handle: Type.String() },
  { $id: 'Zone', description: 'A place that servers run in' },
)
export type ZoneJson = Static<typeof ZoneSchema>

export const ServerTypeSchema = Type.Object(
  {
    ...identity('typ', 'server_type'),
    name: Type.String(),
    status: oneOf(['experimental', 'available', 'deprecated']),
    cores: integer('count'),
    ram: integer('MiB'),
    disk_size: integer('MiB'),
    handle: nullableString('what people type'),
    storage_type: oneOf(['local', 'network']),
  },
  { $id: 'ServerType', description: 'A size that servers come in' },
)
export type ServerTypeJson = Static<typeof ServerTypeSchema>

export const printZone = (zone: Zone, base: string): ZoneJson => ({
  id: zone.id,
  resource_type: 'zone',
  url: urlOf(base, 'zones', zone.id),
  handle: zone.handle,
})

export const printServerType = (type: ServerType, base: string): ServerTypeJson => ({
  id: type.id,
  resource_type: 'server_type',
  url: urlOf(base, 'server_types', type.id),
  name: type.name,
  status: type.status,
  cores: type.cores,
  ram: type.ram,
  disk_size: type.diskSize,
  handle: type.handle,
  storage_type: type.storageType,
})
