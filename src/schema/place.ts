import { type Static, Type } from 'typebox'
import type { ServerType } from '#model/server-type.ts'
import type { Zone } from '#model/zone.ts'
import { identity, integer, nullableString, oneOf, urlOf } from './fields.ts'

/** A zone inside another object. */
export const NestedZoneSchema = Type.Object({ ...identity('zon', 'zone'), handle: Type.String() })

export const ZoneSchema = Type.Object(NestedZoneSchema.properties, {
  $id: 'Zone',
  description: 'A place that servers run in',
})
export type ZoneJson = Static<typeof ZoneSchema>

/** A server type inside another object. */
export const NestedServerTypeSchema = Type.Object({
  ...identity('typ', 'server_type'),
  name: Type.String(),
  status: oneOf(['experimental', 'available', 'deprecated']),
  cores: integer('count'),
  ram: integer('MiB'),
  disk_size: integer('MiB'),
  handle: nullableString('what people type'),
  storage_type: oneOf(['local', 'network']),
})

export const ServerTypeSchema = Type.Object(NestedServerTypeSchema.properties, {
  $id: 'ServerType',
  description: 'A size that servers come in',
})
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
