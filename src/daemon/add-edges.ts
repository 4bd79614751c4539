import { addApi } from '#edge/api/api.ts'
import { addConsole } from '#edge/console/console.ts'
import type { App } from '#edge/http/app.ts'
import { addForward } from '#edge/http/forward.ts'
import type { Readiness } from '#edge/http/probes.ts'
import { addSwift } from '#edge/swift/swift.ts'
import type { Config } from './config.ts'
import { readVersion } from './version.ts'
import type { Parts } from './wire.ts'

const HEARTBEAT_MS = 15_000
const PING_MS = 30_000

export interface EdgeContext {
  readonly readiness: Readiness
  /** Ends what goes on for long. */
  readonly stopping: AbortSignal
}

/** Adds what this process answers over HTTP, by its roles. */
export async function addEdges(
  app: App,
  config: Config,
  parts: Parts,
  { readiness, stopping }: EdgeContext,
): Promise<void> {
  const { roles, http, serversUrl } = config
  const { auth, library, servers, contents, orbit } = parts
  const publicUrl = http.publicUrl === undefined ? {} : { publicUrl: http.publicUrl }
  const runsServers = roles.has('servers')
  // Others forward to it what is asked of servers.
  if (roles.has('api') || runsServers) {
    await addApi(app, {
      version: readVersion(),
      ...{ auth, library, servers, runsServers, stopping, ...publicUrl },
      sshAddress: config.servers.sshAddress,
      openForm: contents.openForm,
      heartbeatMs: HEARTBEAT_MS,
    })
    if (runsServers) await addConsole(app, { servers, auth, pingMs: PING_MS })
    else {
      await addForward(app, {
        to: serversUrl,
        prefixes: ['/1.0/servers', '/console'],
        upgrades: ['/console'],
        what: 'servers',
      })
    }
  }
  if (roles.has('orbit')) {
    addSwift(app, { auth, orbit, content: contents, ...publicUrl, readiness, now: Date.now })
  }
}
