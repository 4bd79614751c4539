import type { ServerJson } from '#schema/server.ts'
import { CommandError } from '../failure.ts'
import { findServer, printServers } from '../servers.ts'
import type { Session } from '../session.ts'

export interface Options {
  readonly group?: string
}

const SUBCOMMANDS =
  'list, show, create, update, start, stop, shutdown, reboot, reset, snapshot, activate_console, lock, unlock, ' +
  'destroy, wait, console'

/** Lists servers, oldest first. */
export async function run(session: Session, ids: readonly string[], { group }: Options) {
  if (group !== undefined && !/^grp-.{5}$/.test(group)) {
    throw new CommandError('A valid server group identifier is required for the group argument')
  }
  const { api } = await session.connect()
  let servers: ServerJson[] = []
  if (ids.length === 0) servers = await api.get('servers', { attempt: 'list servers' })
  for (const id of ids) {
    const server = await findServer(api, id)
    if (server) servers.push(server)
    else session.terminal.info(`Could not find anything with ID ${id}`)
  }
  const isMissed = ids.length > 0 && servers.length === 0
  if (group) servers = servers.filter((server) => isIn(server, group))
  // The official client keeps the order of ids that are asked for.
  if (ids.length === 0) servers.sort((a, b) => Date.parse(a.created_at) - Date.parse(b.created_at))
  await printServers(session, servers)
  if (isMissed) throw nothingFound(ids)
}

const isIn = (server: ServerJson, group: string): boolean =>
  server.server_groups.some((entry) => (entry as { readonly id: string }).id === group)

/** A mistyped subcommand is taken for an id, as the official client does, and so nothing is found. */
function nothingFound(ids: readonly string[]): CommandError {
  const isWord = ids.some((id) => !/^srv-/.test(id))
  const hint = isWord
    ? `servers takes ${SUBCOMMANDS}, or ids such as srv-8gbi6`
    : 'servers list shows those there are'
  return new CommandError('list servers: none of these exists', { hint })
}
