import { CommandError } from '../failure.ts'
import { findImage } from '../images.ts'
import { needServers, showServers } from '../servers.ts'
import type { Session } from '../session.ts'

/** Shows all there is to know of servers, one value a line. */
export async function run(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify server IDs to show')
  const { api } = await session.connect()
  const servers = await needServers(api, ids, (id) => `Couldn't find a server with ID ${id}`)
  const shown = []
  for (const server of servers) shown.push({ server, image: await findImage(api, server.image.id) })
  await showServers(session, shown)
}
