import { LibraryError } from '#base/errors.ts'
import type { Server } from '#model/server.ts'
import { type Context, record, volumeOf } from './context.ts'
import { HeldWatch } from './held.ts'
import type { Machine, MachineEnd } from './qemu/machine.ts'
import { removeServer } from './removing.ts'
import { endOffer, type Runtime } from './runtime.ts'
import { SerialConsole } from './serial-console.ts'
import { startMachine } from './starting.ts'
import { keepUp, settleBase } from './upkeep.ts'

/** What there is to do after a look at a server: nothing until it is woken, looking again later, or nothing ever. */
export type Outcome = 'wait' | 'look-again' | 'gone'

/** Brings one server from what it is to what it is to be. What cannot be done now throws, and is tried again. */
export async function reconcile(context: Context, runtime: Runtime, signal: AbortSignal): Promise<Outcome> {
  const server = await context.options.catalog.servers.find(runtime.id)
  if (!server || server.status === 'deleted') return 'gone'
  await findMachine(context, runtime, server)
  if (server.goal === 'deleted') return (await removeServer(context, runtime, server)) ? 'gone' : 'wait'
  if (server.status === 'failed') return 'wait'
  if (server.goal === 'stopped') return stay(context, runtime, server)
  if (!runtime.running) {
    takeMachine(context, runtime, server, await startMachine(context, runtime, server, signal))
  }
  await keepUp(context, runtime, server)
  return 'look-again'
}

/** A machine that another process started, maybe one that died. */
export async function findMachine(context: Context, runtime: Runtime, server: Server): Promise<void> {
  if (runtime.looked) return
  const { hypervisor, catalog, now } = context.options
  const machine = await hypervisor.find(runtime.folder)
  runtime.looked = true
  if (machine) {
    takeMachine(context, runtime, server, machine)
    return
  }
  if (server.status !== 'active') return
  await catalog.transaction(async (tables) => {
    const at = now()
    if (!(await tables.servers.update(server.id, { status: 'inactive', updatedAt: at }, ['active']))) return
    const message = 'QEMU was gone when the library began.'
    await record(tables, server, { action: 'server.died', message, at })
  })
}

function takeMachine(context: Context, runtime: Runtime, server: Server, machine: Machine): void {
  const { folder, wake, id } = runtime
  const { timer, options } = context
  context.memory.count(id, server.ram)
  const held = new HeldWatch(context, { id, machine, wake })
  runtime.running = { machine, held, console: new SerialConsole({ folder, timer, log: options.log }) }
  void machine.ended.then((end) => runtime.onEnd(machine, end))
}

/** Lets go of a machine that is no more. */
async function dropMachine(context: Context, runtime: Runtime): Promise<void> {
  const { running } = runtime
  runtime.running = undefined
  context.memory.free(runtime.id)
  await running?.held.end()
  await running?.console[Symbol.asyncDispose]()
}

export async function quitMachine(context: Context, runtime: Runtime): Promise<void> {
  await runtime.running?.machine.quit()
  await dropMachine(context, runtime)
  await endOffer(runtime)
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

const ENDS = {
  'powered-off': {
    action: 'server.stopped',
    message: 'The guest turned itself off.',
    trouble: null,
  },
  died: {
    action: 'server.died',
    message: 'QEMU ended unexpectedly.',
    trouble: {
      message: 'QEMU ended unexpectedly.',
      hint: 'Start the server again; the operator finds in its qemu.log what it said.',
    },
  },
} as const

/** A machine has ended by itself. It is not started again: it might end at once again, and again. */
export async function noteEnd(
  context: Context,
  runtime: Runtime,
  machine: Machine,
  end: MachineEnd,
): Promise<void> {
  if (runtime.running?.machine !== machine) return
  await dropMachine(context, runtime)
  await endOffer(runtime)
  const { catalog, now } = context.options
  const { action, message, trouble } = ENDS[end === 'powered-off' ? 'powered-off' : 'died']
  await catalog.transaction(async (tables) => {
    const at = now()
    const server = await tables.servers.find(runtime.id)
    if (server?.goal !== 'running') return
    const inactive = { status: 'inactive', goal: 'stopped', trouble, updatedAt: at } as const
    await tables.servers.update(server.id, inactive, ['active', 'creating', 'inactive'])
    await record(tables, server, { action, message, at })
  })
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
