import { LibraryError } from '#base/errors.ts'
import { isSecret, newToken, sha256 } from '#control/auth/secrets.ts'
import { standingOf } from '#control/auth/standing.ts'
import { actorOf } from '#control/library/access.ts'
import { demandServer } from './access.ts'
import { demandStatus } from './changing.ts'
import { folderOf, record } from './context.ts'
import type { ServersOptions } from './deps.ts'
import { connectSocket } from './qemu/connect-socket.ts'
import { MACHINE_FILES } from './qemu/machine.ts'
import { showServer } from './reading.ts'
import type { ConsoleStream, Servers } from './servers.ts'
import type { ServerWorker } from './worker.ts'

const TOKEN_MS = 15 * 60 * 1000

export interface ConsolesDeps {
  readonly options: Pick<ServersOptions, 'catalog' | 'folder' | 'random' | 'now'>
  readonly workerOf: (id: string) => ServerWorker | undefined
}

export function createConsoles({
  options,
  workerOf,
}: ConsolesDeps): Pick<Servers, 'activateConsole' | 'attachConsole'> {
  const { catalog, random, now } = options
  return {
    activateConsole: (session, id) =>
      catalog.transaction(async (tables) => {
        const server = demandServer(session, 'change', { id, thing: await tables.servers.find(id) })
        demandStatus('console', server)
        const at = now()
        const token = newToken(random)
        const { clientId, userId, standing } = session
        const madeBy = { clientId, userId, standing }
        const console = { tokenSha256: sha256(token), expiresAt: at + TOKEN_MS, madeBy }
        await tables.servers.update(id, { console, updatedAt: at }, [server.status])
        const message = 'The console was opened for 15 minutes.'
        await record(tables, server, { action: 'server.console', message, at, actor: actorOf(session) })
        return { ...(await showServer(tables, session, id)), consoleToken: token }
      }),
    async attachConsole(id, token, kind) {
      const server = await catalog.servers.find(id)
      const { tokenSha256, expiresAt = 0, madeBy } = server?.console ?? {}
      const isGood = isSecret(token, tokenSha256) && expiresAt > now()
      const holder = server && isGood && madeBy && { accountId: server.accountId, ...madeBy }
      const standing = holder && (await standingOf(catalog, holder))
      if (!holder || standing === undefined || standing !== holder.standing) {
        throw new LibraryError('not_found', 'there is no console with this token')
      }
      const console = workerOf(id)?.console
      if (!console) throw new LibraryError('conflict', `server ${id} does not run`)
      const attached = kind === 'serial' ? console.attach() : await attachScreen(folderOf(options, id))
      return { ...attached, holder }
    },
  }
}

async function attachScreen(folder: string): Promise<ConsoleStream> {
  return { backlog: new Uint8Array(), stream: await connectSocket(folder, MACHINE_FILES.vnc) }
}
