import { LibraryError } from '#base/errors.ts'
import type { Server } from '#model/server.ts'
import { type Context, record, volumeOf } from './context.ts'
import { removeServer } from './removing.ts'
import { findMachine, quitMachine, takeMachine } from './running.ts'
import { endOffer, type Runtime } from './runtime.ts'
import { startMachine } from './starting.ts'
import { keepUp, settleBase } from './upkeep.ts'

/** What there is to do after a look at a server: nothing until it is woken, looking again later, or nothing ever. */
export type Outcome = 'wait' | 'look-again' | 'gone'

/** Brings one server from what it is to what it is to be. What cannot be done now throws, and is tried again. */
export async function reconcile(context: Context, runtime: Runtime, signal: AbortSignal): Promise<Outcome> {
  const found = await context.options.catalog.servers.find(runtime.id)
  if (!found || found.status === 'deleted') return 'gone'
  const server = await findMachine(context, runtime, found)
  if (server.goal === 'deleted') return (await removeServer(context, runtime, server)) ? 'gone' : 'wait'
  if (server.status === 'failed') return 'wait'
  if (server.goal === 'stopped') return stay(context, runtime, server)
  if (!runtime.running) {
    takeMachine(context, runtime, server, await startMachine(context, runtime, server, signal))
  }
  await keepUp(context, runtime, server)
  return 'look-again'
}

/** A server that is not to run: only its base may have to be filled still. */
async function stay(context: Context, runtime: Runtime, server: Server): Promise<Outcome> {
  const { catalog, now } = context.options
  await quitMachine(context, runtime)
  await catalog.transaction(async (tables) => {
    const at = now()
    const inactive = { status: 'inactive', trouble: null, updatedAt: at } as const
    if (!(await tables.servers.update(server.id, inactive, ['active', 'creating']))) return
    await record(tables, server, { action: 'server.stopped', message: 'The server was stopped.', at })
  })
  await settleBase(context, runtime, await volumeOf(catalog, server.id))
  return 'wait'
}

/** Whether an attempt to build a server shows that it can never be done. */
export function isHopeless(server: Server, error: unknown): error is LibraryError {
  if (server.status !== 'creating' || !(error instanceof LibraryError)) return false
  return error.code === 'corrupt' || error.code === 'not_found' || error.code === 'invalid'
}

/** Gives up a build. What there is of it stays until the server is destroyed. */
export async function giveUp(context: Context, runtime: Runtime, server: Server, error: LibraryError) {
  const { catalog, now } = context.options
  await endOffer(runtime)
  const volume = await volumeOf(catalog, server.id)
  await context.bases.leave(volume.manifest, server.id)
  await catalog.transaction(async (tables) => {
    const at = now()
    const hint = 'Destroy the server; check the image before another one is built from it.'
    const trouble = { message: `The server could not be built: ${error.message}.`, hint: error.hint ?? hint }
    const failed = { status: 'failed', trouble, updatedAt: at } as const
    if (!(await tables.servers.update(server.id, failed, ['creating']))) return
    await tables.volumes.update(volume.id, { status: 'failed', updatedAt: at })
    await record(tables, server, { action: 'server.failed', message: trouble.message, at })
  })
}
