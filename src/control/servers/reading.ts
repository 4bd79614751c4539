import type { Tables } from '#control/catalog/catalog.ts'
import type { Account } from '#model/account.ts'
import type { Image } from '#model/image.ts'
import { hasBytes } from '#model/image-rules.ts'
import type { Server } from '#model/server.ts'
import type { ServerType } from '#model/server-type.ts'
import type { Session } from '#model/session.ts'
import type { Volume } from '#model/volume.ts'
import type { Zone } from '#model/zone.ts'
import { demandOwn, demandServer } from './access.ts'
import type { ServersOptions } from './deps.ts'
import { readUse } from './quota.ts'
import type { Servers, ShownServer, ShownVolume } from './servers.ts'

/** Servers that were deleted are listed for a day. */
const LISTED_MS = 24 * 60 * 60 * 1000

type Reading = Pick<Servers, 'list' | 'show' | 'listVolumes' | 'showVolume' | 'use'>

export function createReading({
  catalog,
  settings,
  now,
}: Pick<ServersOptions, 'catalog' | 'settings' | 'now'>): Reading {
  return {
    async list(session) {
      demandOwn(session)
      return catalog.snapshot(async (tables) =>
        showServers(tables, await tables.servers.list(session.accountId, now() - LISTED_MS)),
      )
    },
    show: (session, id) => catalog.snapshot((tables) => showServer(tables, session, id)),
    async listVolumes(session) {
      demandOwn(session)
      return catalog.snapshot(async (tables) =>
        showVolumes(tables, await tables.volumes.list(session.accountId, now() - LISTED_MS)),
      )
    },
    showVolume: (session, id) =>
      catalog.snapshot(async (tables) => {
        const found = await tables.volumes.find(id)
        const volume = demandServer(session, 'see', { id, thing: found, kind: 'volume' })
        return only(await showVolumes(tables, [volume]))
      }),
    async use(session) {
      demandOwn(session)
      return catalog.snapshot((tables) => readUse(tables, session.accountId, settings))
    },
  }
}

export async function showServer(tables: Tables, session: Session, id: string): Promise<ShownServer> {
  const server = demandServer(session, 'see', { id, thing: await tables.servers.find(id) })
  return only(await showServers(tables, [server]))
}

/** With what belongs to them; all that is asked of the catalog is asked once for all servers. */
async function showServers(tables: Tables, servers: readonly Server[]): Promise<ShownServer[]> {
  const parts = await partsOf(tables, servers)
  const ids = servers.map(({ id }) => id)
  const volumes = Map.groupBy(await tables.volumes.ofServers(ids), ({ serverId }) => serverId)
  const snapshots = Map.groupBy(await tables.images.ofServers(ids), ({ source }) => source)
  return servers.map((server) => ({
    server,
    account: parts.account(server.accountId),
    image: parts.image(server.imageId, server.accountId),
    type: parts.type(server.typeId),
    zone: parts.zone(server.zoneId),
    volumes: volumes.get(server.id) ?? [],
    snapshots: snapshots.get(server.id) ?? [],
    consoleToken: undefined,
  }))
}

async function showVolumes(tables: Tables, volumes: readonly Volume[]): Promise<ShownVolume[]> {
  const servers = await findAll(
    volumes.map(({ serverId }) => serverId),
    (id) => tables.servers.find(id),
  )
  const parts = await partsOf(tables, [...servers.values()])
  return volumes.map((volume) => {
    const server = demandRow(servers.get(volume.serverId), volume.serverId)
    return {
      volume,
      account: parts.account(volume.accountId),
      image: parts.image(volume.imageId, volume.accountId),
      server,
      zone: parts.zone(server.zoneId),
    }
  })
}

interface Parts {
  account(id: string): Account
  /** As this account may see it. */
  image(id: string, accountId: string): Image
  type(id: string): ServerType
  zone(id: string): Zone
}

async function partsOf(tables: Tables, servers: readonly Server[]): Promise<Parts> {
  const ids = (key: 'accountId' | 'imageId') => servers.map((server) => server[key])
  const accounts = await findAll(ids('accountId'), (id) => tables.accounts.find(id))
  const images = await findAll(ids('imageId'), (id) => tables.images.find(id))
  const types = new Map((await tables.serverTypes.list()).map((type) => [type.id, type]))
  const zones = new Map((await tables.zones.list()).map((zone) => [zone.id, zone]))
  return {
    account: (id) => demandRow(accounts.get(id), id),
    image: (id, accountId) => asSeen(demandRow(images.get(id), id), accountId),
    type: (id) => demandRow(types.get(id), id),
    zone: (id) => demandRow(zones.get(id), id),
  }
}

/** What others' images became that are public no more is not for who once built a server from them. */
function asSeen(image: Image, accountId: string): Image {
  if (image.accountId === accountId || (image.public && hasBytes(image))) return image
  return { ...image, name: image.id, description: null, username: null, source: null, locked: false }
}

async function findAll<T>(
  ids: readonly string[],
  find: (id: string) => Promise<T | undefined>,
): Promise<Map<string, T>> {
  const found = new Map<string, T>()
  for (const id of new Set(ids)) {
    const thing = await find(id)
    if (thing !== undefined) found.set(id, thing)
  }
  return found
}

/** Rows that others name are never removed. */
function demandRow<T>(row: T | undefined, id: string): T {
  if (row === undefined) throw new Error(`internal error: ${id} is named and does not exist`)
  return row
}

function only<T>(list: readonly T[]): T {
  const [first] = list
  if (first === undefined) throw new Error('internal error: nothing to show')
  return first
}
