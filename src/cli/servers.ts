import type { ServerJson } from '#schema/server.ts'
import { createCollection } from './collection.ts'
import type { ImageJson } from './images.ts'
import type { Session, ShownRecord } from './session.ts'
import type { Row } from './table.ts'
import { printDate, printFill, printTime } from './units.ts'

const FIELDS = ['id', 'status', 'type', 'zone', 'created_on', 'image_id', 'cloud_ip_ids', 'name']

/** `cloud_ip_ids` is blank in the official client's tables too. */
const serverRow = (server: ServerJson): Row => ({
  id: server.id,
  status: server.status,
  type: server.server_type.handle,
  zone: server.zone.handle,
  created_on: printDate(server.created_at),
  image_id: server.image.id,
  cloud_ip_ids: '',
  name: server.name,
})

const join = (values: readonly (string | null | undefined)[]): string => values.filter(Boolean).join(', ')

/** This library has none of these; others that speak the same API have. */
interface CloudIpJson {
  readonly id: string
  readonly public_ipv4: string | null
  readonly public_ipv6: string | null
}

/**
 * The official client's fields in its order; then ours, where there is something to say.
 * @param image the server's image as it is now; undefined where it is gone or not ours to see
 */
function serverRecord(server: ServerJson, image: ImageJson | undefined): ShownRecord {
  const { server_type: type, interfaces, volumes } = server
  const ips = server.cloud_ips as readonly CloudIpJson[]
  const groups = server.server_groups as readonly { readonly id: string }[]
  const official: ShownRecord = [
    ['id', server.id],
    ['status', server.status],
    ['locked', server.locked],
    ['name', server.name],
    ['created_at', printTime(server.created_at)],
    ['deleted_at', printTime(server.deleted_at)],
    ['zone', server.zone.handle],
    ['type', type.id],
    ['type_name', type.name],
    ['type_handle', type.handle],
    ['ram', type.ram],
    ['cores', type.cores],
    ['disk', type.disk_size],
    ['disk_encrypted', server.disk_encrypted],
    ['compatibility_mode', server.compatibility_mode],
    ['image', server.image.id],
    ['image_name', image?.name],
    ['image_username', image?.username],
    ['arch', image?.arch],
    ['private_ips', join(interfaces.map((entry) => entry.ipv4_address))],
    ['ipv6_address', join(interfaces.map((entry) => entry.ipv6_address))],
    ['hostname', server.hostname],
    ['fqdn', server.fqdn],
    ['public_hostname', ips.length > 0 ? `public.${server.fqdn}` : null],
    ['ipv6_hostname', interfaces.some((entry) => entry.ipv6_address) ? `ipv6.${server.fqdn}` : null],
    ['cloud_ip_ids', join(ips.map((ip) => ip.id))],
    ['cloud_ipv4s', join(ips.map((ip) => ip.public_ipv4))],
    ['cloud_ipv6s', join(ips.map((ip) => ip.public_ipv6))],
    ['snapshots', join(server.snapshots.map((snapshot) => snapshot.id))],
    ['server_groups', join(groups.map((group) => group.id))],
    ['volumes', join(volumes.map((volume) => (volume.boot ? `*${volume.id}*` : volume.id)))],
  ]
  const ours: ShownRecord = [
    ['accelerator', server.accelerator],
    ['ssh', server.ssh_port === null ? null : `${server.ssh_host}:${server.ssh_port}`],
    ...volumes.map((volume) => ['fill', printFill(volume.fill)] as const),
    ['trouble', server.trouble?.message],
    ['hint', server.trouble?.hint],
  ]
  return [...official, ...ours.filter(([, value]) => value !== null && value !== undefined && value !== '')]
}

const SERVERS = createCollection<ServerJson>({
  name: 'servers',
  word: 'server',
  hint: 'brightbox servers list shows the servers there are; an id looks like srv-8gbi6',
})
export const { path: serverPath, get: getServer, find: findServer, need: needServer } = SERVERS
export const { needAll: needServers } = SERVERS

/** Prints the list table. `--json` gets one object where one server was asked for, else an array. */
export async function printServers(session: Session, servers: readonly ServerJson[], one = false) {
  session.printRows(FIELDS, servers.map(serverRow), one ? servers[0] : servers)
  await rememberServers(session, servers)
}

export async function showServers(
  session: Session,
  servers: readonly { readonly server: ServerJson; readonly image: ImageJson | undefined }[],
) {
  const all = servers.map(({ server }) => server)
  const records = servers.map(({ server, image }) => serverRecord(server, image))
  session.printRecords(records, all.length === 1 ? all[0] : all)
  await rememberServers(session, all)
}

async function rememberServers(session: Session, servers: readonly ServerJson[]) {
  const config = await session.config()
  await config.cacheIds(servers.map((server) => server.id))
}
