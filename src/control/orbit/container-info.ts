import type { ContainerRecord } from '#control/catalog/containers.ts'
import { owns } from '#model/may-orbit.ts'
import type { Caller } from '#model/orbit.ts'
import { showMetadata } from './access.ts'
import type { ContainerInfo } from './orbit.ts'

/** A container as somebody may see it. */
export function containerInfoOf(caller: Caller, record: ContainerRecord): ContainerInfo {
  const own = owns(caller, record.accountId)
  return {
    container: record.name,
    objectCount: record.objectCount,
    bytesUsed: record.bytesUsed,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
    metadata: showMetadata(caller, record.accountId, record.metadata),
    read: own ? (record.read ?? undefined) : undefined,
    write: own ? (record.write ?? undefined) : undefined,
    versions: own ? (record.versions ?? undefined) : undefined,
  }
}
