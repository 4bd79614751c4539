import type { ContainerRecord } from '#control/catalog/containers.ts'
import { cleanAccessList } from '#model/access-list.ts'
import { type ContainerFacts, mayOrbit, type OrbitWish, owns } from '#model/may-orbit.ts'
import type { Caller, ContainerPath, Metadata } from '#model/orbit.ts'
import { type MetadataChange, OrbitRefusal, type RefusalKind } from './orbit.ts'

/** Metadata of accounts and containers that only owners see and set: keys of temporary URLs. */
export const KEY_NAMES: readonly string[] = ['temp-url-key', 'temp-url-key-2']

export const denied = (): OrbitRefusal => new OrbitRefusal('denied', 'Access was denied to this resource.')

export const notFound = (): OrbitRefusal => new OrbitRefusal('not_found', 'The resource could not be found.')

/** What Swift says of one of many things that were refused. */
export function statusLineOf({ session }: Caller, { kind }: OrbitRefusal): string {
  if (kind === 'denied') return session ? '403 Forbidden' : '401 Unauthorized'
  return STATUS_LINES[kind] ?? '409 Conflict'
}

const STATUS_LINES: Partial<Record<RefusalKind, string>> = {
  not_found: '404 Not Found',
  invalid: '400 Bad Request',
  precondition: '412 Precondition Failed',
}

/** Lets pass who may. @throws denied */
export function demand(caller: Caller, wish: OrbitWish): void {
  if (mayOrbit(caller, wish) === 'denied') throw denied()
}

/**
 * Lets pass who may do this with the container, if there is one.
 * @throws denied also where there is none, for who would have no rights in one without access lists; not_found
 */
export function demandContainer(
  caller: Caller,
  action: Exclude<OrbitWish['action'], 'see'>,
  path: ContainerPath,
  record: ContainerRecord | undefined,
): ContainerRecord {
  demand(caller, { action, container: factsOf(path, record) })
  if (!record) throw notFound()
  return record
}

/** What decides about a container of the catalog, or about one that is not there. */
export const factsOf = (
  { account, container }: ContainerPath,
  record: Pick<ContainerRecord, 'read' | 'write'> | undefined,
): ContainerFacts => ({
  account,
  container,
  read: record?.read ?? undefined,
  write: record?.write ?? undefined,
})

/** The account's images container, as `factsOf` would tell it. */
export const imagesFacts = ({ account, container }: ContainerPath): ContainerFacts => ({
  account,
  container,
  readOnly: true,
})

/** @returns null where it lets nobody in @throws invalid in Swift's words */
export function cleanList(kind: 'read' | 'write', text: string | null): string | null {
  const cleaned = cleanAccessList(kind, text ?? '')
  if (!cleaned.ok) throw new OrbitRefusal('invalid', cleaned.problem)
  return cleaned.text || null
}

/** Metadata as somebody may see it. */
export const showMetadata = (caller: Caller, account: string, metadata: Metadata): Metadata =>
  owns(caller, account) ? metadata : withoutKeys(metadata)

/** What somebody may change of metadata; the rest is passed over in silence, as Swift does. */
export const ownChange = (caller: Caller, account: string, change: MetadataChange): MetadataChange =>
  owns(caller, account) ? change : withoutKeys(change)

const withoutKeys = <Value>(values: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> =>
  Object.fromEntries(Object.entries(values).filter(([name]) => !KEY_NAMES.includes(name)))
