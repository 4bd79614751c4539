import type { ServerJson } from '#schema/server.ts'
import { CommandError } from '../failure.ts'
import { needServer, needServers, serverPath } from '../servers.ts'
import type { Connection, Session } from '../session.ts'

const FIELDS = ['url', 'token', 'expires']

/** Prints where consoles are and the tokens that open them; the table is never cut, as in the official client. */
export async function activate(session: Session, ids: readonly string[]) {
  if (ids.length === 0) throw new CommandError('You must specify servers to activate the console for')
  const { api } = await session.connect()
  const after: ServerJson[] = []
  for (const { id } of await needServers(api, ids, missing)) {
    session.terminal.info(`Activating console for server ${id}`)
    after.push(await activateConsole(api, id))
  }
  const rows = after.map((server) => {
    const { url, token, expires } = consoleOf(server)
    return { url: `${url}?password=${encodeURIComponent(token)}`, token, expires: printLocal(expires) }
  })
  session.printRows(FIELDS, rows, after.length === 1 ? after[0] : after, { whole: true })
}

/** Connects this terminal to a server's serial console until Ctrl-] is pressed. */
export async function attach(session: Session, ids: readonly string[]) {
  const [id, ...more] = ids
  if (id === undefined || more.length > 0) throw new CommandError('You must specify one server')
  const { api } = await session.connect()
  await needServer(api, id, missing)
  const { url, token } = consoleOf(await activateConsole(api, id))
  const { attachSerial } = await import('../serial-console.ts')
  await attachSerial(session, { id, url, token })
}

const missing = (id: string) => `Couldn't find server ${id}`

const activateConsole = (api: Connection['api'], id: string): Promise<ServerJson> =>
  api.post<ServerJson>(serverPath(id, '/activate_console'), {
    attempt: `activate the console of server ${id}`,
  })

function consoleOf(server: ServerJson) {
  const { console_url: url, console_token: token, console_token_expires: expires } = server
  if (url && token && expires) return { url, token, expires }
  throw new CommandError(`activate the console of server ${server.id}: the library gave no token`)
}

/** `2022-01-02 03:04:05 +0000`, in the time zone of this machine. */
function printLocal(time: string): string {
  const date = new Date(time)
  const offset = -date.getTimezoneOffset()
  const local = new Date(date.getTime() + offset * 60_000).toISOString()
  const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60]
  const zone = [hours, minutes].map((number) => String(number).padStart(2, '0')).join('')
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ${offset < 0 ? '-' : '+'}${zone}`
}
