import { CommandError } from '../failure.ts'
import { assertBuilt, waitForServer } from '../server-wait.ts'
import { needServers, printServers } from '../servers.ts'
import type { Session } from '../session.ts'

/** Waits until servers have been built; fails with the reason of the first that could not be. */
export async function run(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify the servers you want to wait for')
  const { api } = await session.connect()
  const servers = await needServers(api, ids, (id) => `Couldn't find server ${id}`)
  const ended = []
  for (const server of servers) ended.push(await waitForServer(session, api, server))
  await printServers(session, ended, ids.length === 1)
  ended.forEach(assertBuilt)
}
