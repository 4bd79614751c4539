import type { ServerJson } from '#schema/server.ts'
import { CommandError } from '../failure.ts'
import { needServers, serverPath } from '../servers.ts'
import type { Session } from '../session.ts'

/** What is done to servers one after another, each said on stderr; stdout stays empty, as in the official client. */
interface Action {
  readonly name: string
  /** Where no server is named. */
  readonly nothing: string
  say(id: string): string
  missing(id: string): string
  readonly send: readonly [method: 'post' | 'put' | 'delete', tail: string]
  /** Only sent to active servers. */
  readonly activeOnly?: boolean
}

const missingServer = (id: string) => `Couldn't find server ${id}`
const missingAny = (id: string) => `Couldn't find ${id}`

const ACTIONS = {
  start: {
    name: 'start',
    nothing: 'You must specify servers to start',
    say: (id) => `Starting server ${id}`,
    missing: missingServer,
    send: ['post', '/start'],
  },
  stop: {
    name: 'stop',
    nothing: 'You must specify servers to stop',
    say: (id) => `Stopping server ${id}`,
    missing: missingServer,
    send: ['post', '/stop'],
  },
  shutdown: {
    name: 'shut down',
    nothing: 'You must specify servers to shutdown',
    say: (id) => `Shutting down server ${id}`,
    missing: missingServer,
    send: ['post', '/shutdown'],
  },
  reboot: {
    name: 'reboot',
    nothing: 'You must specify servers to reboot',
    say: (id) => `Sending reboot to ${id}`,
    missing: missingAny,
    send: ['post', '/reboot'],
    activeOnly: true,
  },
  reset: {
    name: 'reset',
    nothing: 'You must specify servers to reset',
    say: (id) => `Sending reset to ${id}`,
    missing: missingAny,
    send: ['post', '/reset'],
    activeOnly: true,
  },
  lock: {
    name: 'lock',
    nothing: 'You must specify server as arguments',
    say: (id) => `Locking ${id}`,
    missing: missingAny,
    send: ['put', '/lock_resource'],
  },
  unlock: {
    name: 'unlock',
    nothing: 'You must specify servers as arguments',
    say: (id) => `Unlocking ${id}`,
    missing: missingAny,
    send: ['put', '/unlock_resource'],
  },
  destroy: {
    name: 'destroy',
    nothing: 'You must specify servers to destroy',
    say: (id) => `Destroying server ${id}`,
    missing: missingServer,
    send: ['delete', ''],
  },
} satisfies Record<string, Action>

async function act(session: Session, ids: readonly string[], action: Action) {
  if (ids.length === 0) throw new CommandError(action.nothing)
  const { api } = await session.connect()
  const after: ServerJson[] = []
  const [method, tail] = action.send
  for (const server of await needServers(api, ids, action.missing)) {
    const { id, status } = server
    session.terminal.info(action.say(id))
    if (action.activeOnly && status !== 'active') {
      session.terminal.info(`HINT: nothing was sent: ${id} is ${status}, not active`)
      after.push(server)
    } else {
      after.push(
        await api[method]<ServerJson>(serverPath(id, tail), { attempt: `${action.name} server ${id}` }),
      )
    }
  }
  if (session.options.json) session.printJson(after.length === 1 ? after[0] : after)
}

const bind = (action: Action) => (session: Session, ids: readonly string[]) => act(session, ids, action)

export const start = bind(ACTIONS.start)
export const stop = bind(ACTIONS.stop)
export const shutdown = bind(ACTIONS.shutdown)
export const reboot = bind(ACTIONS.reboot)
export const reset = bind(ACTIONS.reset)
export const lock = bind(ACTIONS.lock)
export const unlock = bind(ACTIONS.unlock)
export const destroy = bind(ACTIONS.destroy)
