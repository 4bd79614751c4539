import type { Account } from '#model/account.ts'
import type { Server } from '#model/server.ts'
import type { ServerType } from '#model/server-type.ts'
import type { NestedImage } from '#model/shown-image.ts'
import type { Volume } from '#model/volume.ts'
import type { Zone } from '#model/zone.ts'
import { printAccountReference } from './account.ts'
import { printTime, urlOf } from './fields.ts'
import { printNestedServer } from './nested-server.ts'
import { printServerType, printZone } from './place.ts'
import { printNestedImage } from './print-image.ts'
import type { ServerJson } from './server.ts'
import { printNestedVolume } from './volume.ts'

/** A server with what belongs to it. */
export interface ServerView {
  readonly server: Server
  readonly account: Account
  readonly image: NestedImage
  readonly type: ServerType
  readonly zone: Zone
  readonly volumes: readonly Volume[]
  readonly snapshots: readonly NestedImage[]
  readonly consoleToken: string | undefined
}

export interface PrintServerOptions {
  /** Scheme and host that `url` begins with. */
  readonly base: string
  /** Where forwarded SSH ports are reached. */
  readonly sshHost: string
}

/** Prints a server by itself. */
export const printServer = (view: ServerView, options: PrintServerOptions): ServerJson => ({
  ...printListedServer(view, options),
  user_data: view.server.userData,
})

/** Prints a server among others: what may be long stays out. */
export function printListedServer(view: ServerView, { base, sshHost }: PrintServerOptions): ServerJson {
  const { server, type } = view
  return {
    ...printNestedServer(server, base),
    compatibility_mode: server.compatibilityMode,
    disk_encrypted: false,
    console_url: server.console && `${base}/console/${server.id}`,
    console_token: view.consoleToken ?? null,
    console_token_expires: server.console && printTime(server.console.expiresAt),
    snapshots_schedule: null,
    snapshots_schedule_next_at: null,
    snapshots_retention: null,
    account: printAccountReference(view.account, base),
    image: printNestedImage(view.image, base),
    // As the server was built, whatever the type is now.
    server_type: { ...printServerType(type, base), cores: server.cores, ram: server.ram },
    zone: printZone(view.zone, base),
    cloud_ips: [],
    interfaces: [printInterface(server, base)],
    snapshots: view.snapshots.map((image) => printNestedImage(image, base)),
    server_groups: [],
    volumes: view.volumes.map((volume) => printNestedVolume(volume, server, base)),
    accelerator: server.accelerator,
    ssh_host: server.sshPort === null ? null : sshHost,
    ssh_port: server.sshPort,
    trouble: server.trouble,
  }
}

/** A server has one interface, which is why that one's id can be the server's with other letters. */
function printInterface({ id, macAddress }: Server, base: string): ServerJson['interfaces'][number] {
  const interfaceId = id.replace(/^srv-/, 'int-')
  return {
    id: interfaceId,
    resource_type: 'interface',
    url: urlOf(base, 'interfaces', interfaceId),
    mac_address: macAddress,
    ipv4_address: null,
    ipv6_address: null,
  }
}
