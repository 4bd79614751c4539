import { LibraryError } from '#base/errors.ts'
import { actorOf } from '#control/library/access.ts'
import type { EventAction } from '#model/event.ts'
import type { Server } from '#model/server.ts'
import { canDo, type ServerAction } from '#model/server-rules.ts'
import type { Session } from '#model/session.ts'
import { demandServer } from './access.ts'
import { readServerUpdate } from './attributes.ts'
import { record } from './context.ts'
import type { ServersOptions } from './deps.ts'
import type { Machine } from './qemu/machine.ts'
import { showServer } from './reading.ts'
import type { Servers, ShownServer } from './servers.ts'
import type { ServerWorker } from './worker.ts'

type Changing = Pick<
  Servers,
  'update' | 'lock' | 'unlock' | 'destroy' | 'start' | 'stop' | 'shutdown' | 'reboot' | 'reset'
>

export interface ChangingDeps {
  readonly options: Pick<ServersOptions, 'catalog' | 'now'>
  /** Of a server that exists. */
  readonly workerOf: (id: string) => ServerWorker | undefined
}

/** What a change comes to: what becomes of the server, and how that is told; undefined where all is so already. */
type Change =
  | { readonly set: Partial<Server>; readonly action: EventAction; readonly message: string }
  | undefined

interface Wish {
  readonly session: Session
  readonly id: string
  readonly action: ServerAction
}

/** @throws conflict */
export function demandStatus(action: ServerAction, { id, status, goal }: Server): void {
  // What is on its way there is not yet in that status, but will not come back from it.
  if (action !== 'destroy' && goal === 'deleted' && status !== 'deleted') {
    throw new LibraryError('conflict', `server ${id} is being deleted`)
  }
  if (!canDo(action, status)) throw new LibraryError('conflict', `server ${id} is ${status}`)
}

/** What is written down of a server's future; its worker then brings it there. */
export function createChanging({ options, workerOf }: ChangingDeps): Changing {
  const { catalog, now } = options

  /** Reads, checks and changes a server in one transaction. @returns it as it is at once */
  async function change(
    { session, id }: Pick<Wish, 'session' | 'id'>,
    decide: (server: Server) => Change,
  ): Promise<ShownServer> {
    return catalog.transaction(async (tables) => {
      const server = demandServer(session, 'change', { id, thing: await tables.servers.find(id) })
      const decided = decide(server)
      if (decided) {
        const at = now()
        await tables.servers.update(id, { ...decided.set, updatedAt: at }, [server.status])
        const { action: event, message } = decided
        await record(tables, server, { action: event, message, at, actor: actorOf(session) })
      }
      return showServer(tables, session, id)
    })
  }

  const setLocked = (session: Session, id: string, locked: boolean) =>
    change({ session, id }, (server) => {
      if (server.locked === locked) return undefined
      demandStatus(locked ? 'lock' : 'unlock', server)
      const word = locked ? 'locked' : 'unlocked'
      return { set: { locked }, action: `server.${word}`, message: `The server was ${word}.` }
    })

  /** Asks something of the machine itself, and writes it down once that has been done. */
  async function ask(
    { session, id, action }: Wish,
    what: { do: (machine: Machine) => Promise<void>; action: EventAction; message: string },
  ) {
    const server = demandServer(session, 'change', { id, thing: await catalog.servers.find(id) })
    demandStatus(action, server)
    const machine = workerOf(id)?.machine
    if (!machine) throw new LibraryError('conflict', `server ${id} does not run right now`)
    await what.do(machine)
    return catalog.transaction(async (tables) => {
      const { action: event, message } = what
      await record(tables, server, { action: event, message, at: now(), actor: actorOf(session) })
      return showServer(tables, session, id)
    })
  }

  return {
    async update(session, id, attributes) {
      const wanted = readServerUpdate(attributes)
      return change({ session, id }, (server) => {
        demandStatus('update', server)
        const fields = Object.entries(wanted).filter(([key, value]) => server[key as keyof Server] !== value)
        if (fields.length === 0) return undefined
        const names = fields.map(([key]) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))
        return { set: wanted, action: 'server.updated', message: `Changed: ${names.join(', ')}.` }
      })
    },
    lock: (session, id) => setLocked(session, id, true),
    unlock: (session, id) => setLocked(session, id, false),
    async destroy(session, id) {
      const shown = await change({ session, id }, (server) => {
        if (server.goal === 'deleted') return undefined
        if (server.locked) {
          throw new LibraryError('conflict', `server ${id} is locked`, { hint: 'Unlock it first.' })
        }
        const set = { goal: 'deleted', status: 'deleting', console: null, trouble: null } as const
        return { set, action: 'server.deleting', message: 'The server is being deleted.' }
      })
      workerOf(id)?.redirect()
      return shown
    },
    async start(session, id) {
      const shown = await change({ session, id }, (server) => {
        demandStatus('start', server)
        if (server.goal === 'running') return undefined
        const set = { goal: 'running', trouble: null } as const
        return { set, action: 'server.starting', message: 'The server is to be started.' }
      })
      workerOf(id)?.hurry()
      return shown
    },
    async stop(session, id) {
      const shown = await change({ session, id }, (server) => {
        // One that cannot be started, and is tried again and again, can be told to leave that.
        const isTrying = server.status === 'inactive' && server.goal === 'running'
        if (!isTrying) demandStatus('stop', server)
        if (server.goal === 'stopped') return undefined
        const set = { goal: 'stopped', trouble: null } as const
        return { set, action: 'server.stopping', message: 'The server is to be stopped.' }
      })
      workerOf(id)?.redirect()
      return shown
    },
    shutdown: (session, id) =>
      ask(
        { session, id, action: 'shutdown' },
        {
          do: (machine) => machine.pressPower(),
          action: 'server.stopping',
          message: 'The power button was pressed.',
        },
      ),
    reboot: (session, id) =>
      ask(
        { session, id, action: 'reboot' },
        {
          do: (machine) => machine.askReboot(),
          action: 'server.rebooted',
          message: 'The guest was asked to start again.',
        },
      ),
    reset: (session, id) =>
      ask(
        { session, id, action: 'reset' },
        { do: (machine) => machine.reset(), action: 'server.rebooted', message: 'The server was reset.' },
      ),
  }
}
