import { CommandError } from '../failure.ts'
import { needGroups } from '../server-groups.ts'
import { getServer, needServer, printServers, serverPath } from '../servers.ts'
import type { Session } from '../session.ts'
import { describeUserData, readUserData, type UserDataOptions } from '../user-data.ts'

export interface Options extends UserDataOptions {
  readonly name?: string
  readonly compatibilityMode?: boolean
  readonly serverGroups?: string
}

/** The official client's own limit for changes. */
const USER_DATA_LIMIT_KIB = 16

/** Changes what the options name; an empty name clears. */
export async function run(session: Session, [id]: readonly string[], options: Options) {
  if (id === undefined || !/^srv-/.test(id)) {
    throw new CommandError('You must specify a valid server id as the first argument', {
      hint: 'for example: brightbox servers update --name=web srv-8gbi6',
    })
  }
  const userData = await readUserData(session, options, USER_DATA_LIMIT_KIB)
  const { api } = await session.connect()
  await needServer(api, id, (missing) => `Couldn't find '${missing}'`)
  const { name, compatibilityMode, serverGroups } = options
  const groups = serverGroups === undefined ? undefined : await needGroups(api, serverGroups)
  const body = {
    ...(name === undefined ? {} : { name: name === '' ? null : name }),
    ...(userData === undefined ? {} : { user_data: userData }),
    ...(compatibilityMode === undefined ? {} : { compatibility_mode: compatibilityMode }),
    ...(groups === undefined ? {} : { server_groups: groups }),
  }
  session.terminal.info(`Updating server ${id}${describeUserData(userData)}`)
  if (Object.keys(body).length > 0) await api.put(serverPath(id), { attempt: `update server ${id}`, body })
  // The official client reads the server twice here, and what we send is compared with it.
  await getServer(api, id)
  await printServers(session, [await getServer(api, id)], true)
}
