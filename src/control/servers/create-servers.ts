import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'
import { isId } from '#model/ids.ts'
import type { Server } from '#model/server.ts'
import { demandServer } from './access.ts'
import { Bases } from './bases.ts'
import { buildServer } from './building.ts'
import { createChanging, demandStatus } from './changing.ts'
import { createConsoles } from './consoles.ts'
import { type Context, folderOf } from './context.ts'
import type { ServersOptions, Timer } from './deps.ts'
import { HostMemory } from './host-memory.ts'
import { createReading, showServer } from './reading.ts'
import { removeFolder, serverOf } from './server-files.ts'
import type { Servers } from './servers.ts'
import { takeSnapshot } from './snapshots.ts'
import { ServerWorker } from './worker.ts'

const BASES = 'bases'
/** Machines that are looked for at a time when the library begins. */
const LOOKS = 8

/** Servers are woken when something happens to them; should that ever be missed, it lasts no longer than this. */
const ROUND_MS = 60_000

const nodeTimer: Timer = (delayMs, task) => {
  const timer = setTimeout(task, delayMs).unref()
  return () => clearTimeout(timer)
}

/** Joins the parts of the servers. It does nothing by itself before `begin`. */
export function createServers(options: ServersOptions): Servers {
  const { catalog, library, folder, settings, timer = nodeTimer } = options
  const workers = new Map<string, ServerWorker>()
  const workerOf = (id: string) => workers.get(id)
  const wake = (id: string) => workers.get(id)?.wake()
  const bases = new Bases({ options, folder: join(folder, BASES), timer, wake })
  const context: Context = { options, timer, bases, memory: new HostMemory(settings.ram) }

  /** @param fresh it was written down just now */
  function employ(server: Server, fresh: boolean): ServerWorker {
    const employed = workers.get(server.id)
    if (employed) return employed
    const worker = new ServerWorker(context, server, { fresh, onGone: () => workers.delete(server.id) })
    workers.set(server.id, worker)
    return worker
  }

  let cancelRound = () => {}
  let disposed = false

  /** Looks at all servers, also those that nobody looks after by mistake. */
  async function round(): Promise<void> {
    try {
      for (const server of await catalog.servers.listExisting()) {
        if (disposed) return
        employ(server, false).wake()
      }
    } catch (error) {
      options.log.warn({ err: error }, 'cannot look at all servers')
    }
    if (!disposed) cancelRound = timer(ROUND_MS, () => void round())
  }

  return {
    ...createReading(options),
    ...createChanging({ options, workerOf }),
    ...createConsoles({ options, workerOf }),
    async create(session, attributes) {
      const server = await buildServer(options, session, attributes)
      const shown = await showServer(catalog, session, server.id)
      employ(server, true).wake()
      return shown
    },
    async snapshot(session, id) {
      const server = demandServer(session, 'change', { id, thing: await catalog.servers.find(id) })
      demandStatus('snapshot', server)
      const worker = workers.get(id)
      if (!worker) throw new LibraryError('conflict', `server ${id} is ${server.status}`)
      const image = await worker.urgent((runtime) => takeSnapshot(context, runtime, session))
      return {
        shown: await showServer(catalog, session, id),
        image: await library.show(session, image.id),
      }
    },
    volumeRead: wake,
    async begin() {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const servers = await catalog.servers.listExisting()
      await clear(options, servers)
      await bases.clear()
      const waiting = [...servers]
      const adopt = async () => {
        for (let server = waiting.shift(); server; server = waiting.shift()) {
          const { id } = server
          await employ(server, false)
            .adopt(server)
            .catch((error) => options.log.warn({ err: error, server: id }, 'cannot find a machine yet'))
        }
      }
      await Promise.all(Array.from({ length: LOOKS }, adopt))
      await round()
    },
    async [Symbol.asyncDispose]() {
      disposed = true
      cancelRound()
      await Promise.all([...workers.values()].map((worker) => worker[Symbol.asyncDispose]()))
      await bases[Symbol.asyncDispose]()
    },
  }
}

/** Ends machines that no server has any more, and removes folders that are none's. */
async function clear({ hypervisor, folder, log }: ServersOptions, servers: readonly Server[]): Promise<void> {
  const kept = new Set(servers.map(({ id }) => folderOf({ folder }, id)))
  const ended = await hypervisor.endOthers(folder, kept)
  if (ended > 0) log.warn({ ended }, 'ended machines that belonged to no server')
  for (const name of await readdir(folder)) {
    // What else is there is not ours to judge.
    const id = serverOf(name)
    if (isId('srv', id) && !kept.has(join(folder, id))) await removeFolder(join(folder, id))
  }
}
