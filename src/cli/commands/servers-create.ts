import type { ServerTypeJson, ZoneJson } from '#schema/place.ts'
import type { ServerJson } from '#schema/server.ts'
import type { Api } from '../api.ts'
import { createCollection } from '../collection.ts'
import { CommandError } from '../failure.ts'
import { type ImageJson, needImage } from '../images.ts'
import { needGroups } from '../server-groups.ts'
import { assertBuilt, waitForServer } from '../server-wait.ts'
import { printServers } from '../servers.ts'
import type { Session } from '../session.ts'
import { parseWhole } from '../units.ts'
import { describeUserData, readUserData, type UserDataOptions } from '../user-data.ts'

export interface Options extends UserDataOptions {
  readonly name?: string
  readonly type: string
  readonly zone?: string
  readonly serverCount: string
  readonly serverGroups?: string
  readonly cloudIp?: string
  readonly diskEncrypted?: boolean
  readonly volumeSize?: string
  readonly compatibilityMode?: boolean
  readonly wait?: boolean
}

/** Of what is sent: the library takes no more. */
const USER_DATA_LIMIT_KIB = 64
const MAX_COUNT = 100

const TYPES = createCollection<ServerTypeJson>({
  name: 'server_types',
  word: 'server type',
  hint: 'brightbox types list shows the types there are',
})

/** Builds servers from an image, and prints them. */
export async function run(session: Session, [imageId]: readonly string[], options: Options) {
  if (imageId === undefined) {
    throw new CommandError('You must specify the image_id as the first argument', {
      hint: 'brightbox images list shows what there is',
    })
  }
  const count = parseCount(options.serverCount)
  const userData = await readUserData(session, options, USER_DATA_LIMIT_KIB)
  const size =
    options.volumeSize === undefined ? undefined : parseWhole(options.volumeSize, 'volume-size', 'MiB')
  const { api } = await session.connect()
  const image = await needImage(api, imageId, (id) => `Couldn't find '${id}'`)
  const type = await findType(api, options.type)
  const zone = options.zone === undefined ? undefined : await findZone(api, options.zone)
  const groups = await needGroups(api, options.serverGroups ?? '')
  session.terminal.info(describe({ options, count, image, type, zone, groups, userData }))
  // The keys in the order of the official client; ours come last.
  const body = {
    ...(options.name ? { name: options.name } : {}),
    ...(zone === undefined ? {} : { zone: zone.id }),
    ...(userData === undefined ? {} : { user_data: userData }),
    ...(groups.length === 0 ? {} : { server_groups: groups }),
    server_type: type.id,
    ...(options.cloudIp === undefined ? {} : { cloud_ip: options.cloudIp }),
    ...(options.diskEncrypted ? { disk_encrypted: true } : {}),
    ...(size === undefined ? { image: image.id } : { volumes: [{ image: image.id, size }] }),
    ...(options.compatibilityMode === undefined ? {} : { compatibility_mode: options.compatibilityMode }),
  }
  await build(session, api, { body, count, wait: options.wait === true })
}

/** A server that could not be made does not hide those that were. */
async function build(
  session: Session,
  api: Api,
  { body, count, wait }: { body: object; count: number; wait: boolean },
) {
  let servers: ServerJson[] = []
  try {
    while (servers.length < count) {
      servers.push(await api.post<ServerJson>('servers', { attempt: 'create server', body }))
    }
  } catch (error) {
    if (servers.length > 0) await printServers(session, servers)
    throw error
  }
  if (wait) {
    const ended = []
    for (const server of servers) ended.push(await waitForServer(session, api, server))
    servers = ended
  }
  await printServers(session, servers, count === 1)
  if (wait) servers.forEach(assertBuilt)
}

function parseCount(text: string): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (count >= 1 && count <= MAX_COUNT) return count
  throw new CommandError(`server-count must be a whole number from 1 to ${MAX_COUNT}`)
}

/** An id is read, a handle is looked for. */
async function findType(api: Api, text: string): Promise<ServerTypeJson> {
  if (/^typ-/.test(text)) return TYPES.need(api, text, (id) => `Couldn't find '${id}'`)
  const types = await api.get<ServerTypeJson[]>('server_types', { attempt: 'list server types' })
  const type = types.find(({ handle }) => handle === text)
  if (type === undefined) throw TYPES.missing(`Invalid Type ${text}`)
  return type
}

/** Only handles in the official client; an id means the same zone. */
async function findZone(api: Api, text: string): Promise<ZoneJson> {
  const zones = await api.get<ZoneJson[]>('zones', { attempt: 'list zones' })
  const zone = zones.find(({ id, handle }) => handle === text || id === text)
  if (zone) return zone
  throw new CommandError(`Invalid Zone ${text}`, { hint: 'brightbox zones list shows the zones there are' })
}

function describe(made: {
  readonly options: Options
  readonly count: number
  readonly image: ImageJson
  readonly type: ServerTypeJson
  readonly zone: ZoneJson | undefined
  readonly groups: readonly string[]
  readonly userData: string | undefined
}): string {
  const { count, image, type, zone, groups } = made
  const { cloudIp } = made.options
  const [how, s] = count > 1 ? [String(count), 's'] : ['a', '']
  return [
    `Creating ${how} ${type.handle} (${type.id}) server${s} with image ${image.name.trim()} (${image.id})`,
    zone ? ` in zone ${zone.handle} (${zone.id})` : '',
    groups.length > 0 ? ` in groups ${groups.join(', ')}` : '',
    describeUserData(made.userData),
    cloudIp?.startsWith('cip-') ? ` mapping ${cloudIp} when built` : '',
    cloudIp === 'true' ? ' mapping a new cloud IP when built' : '',
  ].join('')
}
