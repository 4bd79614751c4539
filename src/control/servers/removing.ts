import type { Server } from '#model/server.ts'
import { type Context, record, volumeOf } from './context.ts'
import { removeTap, tapName } from './network/tap.ts'
import { quitMachine } from './running.ts'
import type { Runtime } from './runtime.ts'
import { removeFolder } from './server-files.ts'

/**
 * Ends a server and all that is its own.
 * @returns false where snapshots still read its disk: the server is woken when one of them has ended
 */
export async function removeServer(context: Context, runtime: Runtime, server: Server): Promise<boolean> {
  const { catalog, library, now } = context.options
  await quitMachine(context, runtime)
  if ((await library.snapshots.frozenLayers(catalog, server.id)).size > 0) return false
  await removeFolder(runtime.folder)
  // Left behind where its QEMU ended while no daemon ran.
  await removeTap(tapName(server))
  const volume = await volumeOf(catalog, server.id)
  await context.bases.release(volume.manifest, server.id)
  await catalog.transaction(async (tables) => {
    const at = now()
    const deleted = { status: 'deleted', deletedAt: at, updatedAt: at } as const
    await tables.volumes.update(volume.id, deleted)
    if (!(await tables.servers.update(server.id, { ...deleted, console: null, trouble: null }, ['deleting'])))
      return
    await record(tables, server, { action: 'server.deleted', message: 'The server was deleted.', at })
  })
  return true
}
