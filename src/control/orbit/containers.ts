import type { Tables } from '#control/catalog/catalog.ts'
import type { ContainerAttributes, ContainerRecord } from '#control/catalog/containers.ts'
import type { Walked } from '#control/catalog/name-walk.ts'
import type { ListedObject } from '#control/catalog/objects.ts'
import type { Caller, ContainerPath } from '#model/orbit.ts'
import { cleanList, demand, demandContainer, factsOf, notFound, ownChange } from './access.ts'
import { containerInfoOf } from './container-info.ts'
import type { OrbitDeps } from './deps.ts'
import type { Expiry, Settle } from './expiry.ts'
import { checkNames, mergeMetadata } from './limits.ts'
import { listNames } from './listing.ts'
import { type ContainerChange, type ObjectRow, type Orbit, OrbitRefusal } from './orbit.ts'
import { checkQuotas } from './quotas.ts'

export interface ContainersDeps {
  readonly deps: OrbitDeps
  readonly expiry: Expiry
}

const NOTHING: ContainerAttributes = { metadata: {}, read: null, write: null, versions: null }

export function createContainers({ deps: { catalog, now }, expiry }: ContainersDeps): Orbit['containers'] {
  async function readSettled(
    tables: Tables,
    settle: Settle,
    caller: Caller,
    path: ContainerPath,
  ): Promise<ContainerRecord> {
    const found = await tables.containers.find(path.account, path.container)
    const container = demandContainer(caller, 'list', path, found)
    await settle({ containerId: container.id })
    return container
  }

  return {
    async put(caller, path, change) {
      demand(caller, { action: 'make', container: factsOf(path, undefined) })
      checkNames(path)
      return catalog.transaction(async ({ containers }) => {
        const { account: accountId, container: name } = path
        const fresh = changed(caller, accountId, NOTHING, change)
        if (await containers.insert({ accountId, name }, fresh, now())) return true
        const found = await containers.findToChange(accountId, name)
        if (!found) throw notFound()
        await containers.update(found.id, changed(caller, accountId, found, change), now())
        return false
      })
    },
    async update(caller, path, change) {
      await catalog.transaction(async ({ containers }) => {
        const found = await containers.findToChange(path.account, path.container)
        const container = demandContainer(caller, 'change', path, found)
        await containers.update(container.id, changed(caller, path.account, container, change), now())
      })
    },
    show: (caller, path) =>
      expiry.snapshot(async (tables, settle) =>
        containerInfoOf(caller, await readSettled(tables, settle, caller, path)),
      ),
    async list(caller, path, query) {
      const read = async (tables: Tables, id: number) =>
        (await listNames((walk) => tables.objects.walk(id, walk), query)).map(toRow)
      const { container, rows } = await expiry.snapshot(async (tables, settle) => {
        const container = await readSettled(tables, settle, caller, path)
        // To find a few names behind a million others takes long, and others shall not wait for the moment's end.
        return { container, rows: query.path === undefined ? await read(tables, container.id) : undefined }
      })
      return { info: containerInfoOf(caller, container), rows: rows ?? (await read(catalog, container.id)) }
    },
    async remove(caller, path) {
      const { account, container: name } = path
      const container = demandContainer(caller, 'remove', path, await catalog.containers.find(account, name))
      if (container.objectCount > 0) await expiry.removeDue({ containerId: container.id })
      if (await catalog.transaction(({ containers }) => containers.remove(container))) return
      throw new OrbitRefusal('conflict', 'There was a conflict when trying to complete your request.')
    },
    async facts({ account, container }) {
      return catalog.containers.find(account, container)
    },
  }
}

/** What a container becomes where its owner changes some of it. @throws invalid */
function changed(
  caller: Caller,
  account: string,
  old: ContainerAttributes,
  { metadata, read, write, versions }: ContainerChange,
): ContainerAttributes {
  const merged = mergeMetadata('container', old.metadata, ownChange(caller, account, metadata))
  checkQuotas(merged)
  return {
    metadata: merged,
    read: read === undefined ? old.read : cleanList('read', read),
    write: write === undefined ? old.write : cleanList('write', write),
    versions: versions === undefined ? old.versions : versions,
  }
}

export function toRow({ group, row }: Walked<Omit<ListedObject, 'deleteAt'>>): ObjectRow {
  if (group !== null) return { kind: 'subdir', name: group }
  const { name, large, md5, size, contentType, modifiedAt } = row
  return {
    kind: 'object',
    name,
    hash: md5,
    bytes: large?.size ?? size,
    contentType,
    modifiedAt,
    sloEtag: large?.etag,
  }
}
