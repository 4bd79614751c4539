import type { ServerJson } from '#schema/server.ts'
import type { Api } from './api.ts'
import { CommandError, printable } from './failure.ts'
import { poll } from './poll.ts'
import { getServer } from './servers.ts'
import type { Session } from './session.ts'

/**
 * Follows a build to its end; what stands in its way is said on stderr.
 * @returns the server as it is then: active, failed, or whatever else it became
 */
export async function waitForServer(session: Session, api: Api, server: ServerJson): Promise<ServerJson> {
  let said: string | undefined
  return poll(session, server, {
    isUnderWay(latest) {
      const trouble = latest.trouble?.message
      if (latest.status === 'creating' && trouble !== undefined && trouble !== said) {
        said = trouble
        session.terminal.info(`WARN: ${server.id}: ${printable(trouble)}`)
      }
      return latest.status === 'creating'
    },
    read: () => getServer(api, server.id, `wait for server ${server.id}`),
  })
}

/** @throws why the server does not run, with what to do next */
export function assertBuilt({ id, status, trouble }: ServerJson): void {
  if (status === 'active' || status === 'inactive') return
  if (!trouble) throw new CommandError(`build server ${id}: it is ${status}`)
  throw new CommandError(`build server ${id}: ${trouble.message.replace(/\.$/, '')}`, { hint: trouble.hint })
}
