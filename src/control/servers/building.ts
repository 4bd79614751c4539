import { MiB } from '#base/bytes.ts'
import { LibraryError } from '#base/errors.ts'
import type { Tables } from '#control/catalog/catalog.ts'
import { actorOf } from '#control/library/access.ts'
import { invalid } from '#control/library/attributes.ts'
import type { Random } from '#model/ids.ts'
import { hasBytes } from '#model/image-rules.ts'
import { may } from '#model/may.ts'
import type { Server } from '#model/server.ts'
import { isOffered } from '#model/server-rules.ts'
import type { ServerType } from '#model/server-type.ts'
import type { Session } from '#model/session.ts'
import type { ShownImage } from '#model/shown-image.ts'
import type { Zone } from '#model/zone.ts'
import { readBuildAttributes, type Wanted } from './attributes.ts'
import { record } from './context.ts'
import type { ServersOptions } from './deps.ts'
import { freePort } from './ports.ts'
import { demandRoom, readUse } from './quota.ts'
import { FIRST_LAYER } from './server-files.ts'
import type { BuildAttributes } from './servers.ts'

type UsableImage = ShownImage & { readonly manifest: string }

/** Writes down a server that is to be built: from then on it is the worker's. */
export async function buildServer(
  options: ServersOptions,
  session: Session,
  attributes: BuildAttributes,
): Promise<Server> {
  if (may(session, { action: 'create', what: 'server' }) !== 'allowed') {
    throw new LibraryError('denied', 'create a server')
  }
  const wanted = readBuildAttributes(attributes)
  const image = await options.library.use(session, wanted.imageId)
  return options.catalog.transaction(async (tables) => {
    const type = await findType(tables, wanted.type)
    const zone = await findZone(tables, wanted.zone)
    const disk = diskSizeOf(wanted, type, image)
    await demandStill(tables, image)
    const { accountId } = session
    demandRoom(await readUse(tables, accountId, options.settings), { ram: type.ram, disk })
    return insert(tables, options, { session, wanted, image, type, zone, disk })
  })
}

/** Between the look at the image and this transaction it may have been destroyed. */
async function demandStill(tables: Tables, { id, manifest }: UsableImage): Promise<void> {
  const image = await tables.images.find(id)
  if (image && hasBytes(image) && image.manifest === manifest) return
  throw new LibraryError('conflict', `image ${id} is ${image?.status ?? 'deleted'}: it has no bytes to read`)
}

async function findType(tables: Tables, text: string): Promise<ServerType> {
  const type = await tables.serverTypes.find(text)
  if (!type) throw invalid('server_type', `must be the id or handle of a type: there is no ${text}`)
  if (!isOffered(type))
    throw invalid('server_type', `must be one that is offered: ${type.handle} is ${type.status}`)
  return type
}

async function findZone(tables: Tables, text: string | undefined): Promise<Zone> {
  const zones = await tables.zones.list()
  const zone = text === undefined ? zones[0] : zones.find(({ id, handle }) => id === text || handle === text)
  if (!zone) throw invalid('zone', `must be the id or handle of a zone: there is no ${text}`)
  return zone
}

/** @returns MiB @throws invalid where the image does not fit or asks for more memory */
function diskSizeOf(wanted: Wanted, type: ServerType, image: UsableImage): number {
  const name = type.handle
  const needed = Math.ceil(image.virtualSize / MiB)
  if (image.minRam !== null && image.minRam > type.ram) {
    const rule = `must have the ${image.minRam} MiB of memory that image ${image.id} asks for: ${name} has ${type.ram}`
    throw invalid('server_type', rule)
  }
  const isNetwork = type.diskSize === 0
  const size = isNetwork ? (wanted.diskSize ?? needed) : Math.max(type.diskSize, wanted.diskSize ?? 0)
  if (needed <= size) return size
  const rule = `must have room for the disk of image ${image.id}, ${needed} MiB`
  throw isNetwork
    ? invalid('volumes', `${rule}: the size asked for is ${size} MiB`)
    : invalid('server_type', `${rule}: ${name} has a disk of ${size} MiB`)
}

interface Plan {
  readonly session: Session
  readonly wanted: Wanted
  readonly image: UsableImage
  readonly type: ServerType
  readonly zone: Zone
  /** MiB. */
  readonly disk: number
}

async function insert(
  tables: Tables,
  { settings, random, now }: ServersOptions,
  { session, wanted, image, type, zone, disk }: Plan,
): Promise<Server> {
  const at = now()
  const { accountId } = session
  const taken = settings.network.kind === 'user' ? await tables.servers.listSshPorts() : undefined
  const times = { createdAt: at, updatedAt: at, deletedAt: null }
  const server = await tables.servers.insert({
    ...{ accountId, name: wanted.name, status: 'creating', goal: 'running', locked: false },
    ...{ typeId: type.id, cores: type.cores, ram: type.ram, zoneId: zone.id, imageId: image.id },
    compatibilityMode: wanted.compatibilityMode ?? image.compatibilityMode,
    userData: wanted.userData,
    macAddress: newMacAddress(random),
    sshPort: taken ? freePort(taken, settings.sshPorts) : null,
    ...{ accelerator: null, trouble: null, console: null, startedAt: null },
    ...times,
  })
  await tables.volumes.insert({
    ...{ accountId, serverId: server.id, imageId: image.id, name: null, status: 'creating' },
    ...{ size: disk * MiB, manifest: image.manifest, imageSize: image.virtualSize },
    ...{ filled: 0, standsAlone: false, layers: [FIRST_LAYER] },
    ...times,
  })
  const message = `The server was created from image ${image.id} as ${type.handle}.`
  await record(tables, server, { action: 'server.created', message, at, actor: actorOf(session) })
  return server
}

/** Locally administered, of one card (IEEE 802-2014 §8.2.2), and within what QEMU's cards use by themselves. */
function newMacAddress(random: Random): string {
  const bytes = [0x52, 0x54, 0x00, ...random(3)]
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}
