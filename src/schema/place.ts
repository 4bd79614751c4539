import { type Static, Type } from 'typebox'
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
  { $id: 'ServerType' },
)
export type ServerTypeJson = Static<typeof ServerTypeSchema>

/** Handles that Terraform's validation accepts; see the interface guide. */
const ZONES = [{ id: 'zon-gb1sa', handle: 'gb1s-a' }] as const

/** `1gb.ssd` is what clients ask for when nobody chose. */
const SERVER_TYPES = [
  { id: 'typ-w0hf9', name: '1GB SSD', handle: '1gb.ssd', cores: 1, ram: 1024, disk: 30_720 },
  { id: 'typ-8fkga', name: '2GB SSD', handle: '2gb.ssd', cores: 2, ram: 2048, disk: 61_440 },
  { id: 'typ-s4pin', name: '4GB SSD', handle: '4gb.ssd', cores: 2, ram: 4096, disk: 122_880 },
  { id: 'typ-q6l2u', name: '8GB SSD', handle: '8gb.ssd', cores: 4, ram: 8192, disk: 245_760 },
] as const

export const listZones = (base: string): ZoneJson[] =>
  ZONES.map((zone) => ({ ...zone, resource_type: 'zone', url: urlOf(base, 'zones', zone.id) }))

export const listServerTypes = (base: string): ServerTypeJson[] =>
  SERVER_TYPES.map(({ disk, ...type }) => ({
    ...type,
    resource_type: 'server_type',
    url: urlOf(base, 'server_types', type.id),
    status: 'available',
    disk_size: disk,
    storage_type: 'local',
  }))
