import type { Server } from '#model/server.ts'
import { type Context, record } from './context.ts'
import { HeldWatch } from './held.ts'
import type { Machine, MachineEnd } from './qemu/machine.ts'
import { endOffer, type Runtime } from './runtime.ts'
import { SerialConsole } from './serial-console.ts'

/** Takes hold of a machine that a process before us started, maybe one that died. @returns the server as it is now */
export async function findMachine(context: Context, runtime: Runtime, server: Server): Promise<Server> {
  if (runtime.looked) return server
  const { hypervisor, catalog, now } = context.options
  const machine = await hypervisor.find(runtime.folder)
  runtime.looked = true
  if (machine) {
    takeMachine(context, runtime, server, machine)
    return server
  }
  if (server.status !== 'active') return server
  return await catalog.transaction(async (tables) => {
    const at = now()
    const inactive = await tables.servers.update(server.id, { status: 'inactive', updatedAt: at }, ['active'])
    if (!inactive) return server
    const message = 'QEMU was gone when the library began.'
    await record(tables, server, { action: 'server.died', message, at })
    return inactive
  })
}

/** Takes hold of a machine: counts its memory, reads its console, watches its guest. */
export function takeMachine(context: Context, runtime: Runtime, server: Server, machine: Machine): void {
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

/** Ends what runs of a server, if anything does, and what was there for it. */
export async function quitMachine(context: Context, runtime: Runtime): Promise<void> {
  await runtime.running?.machine.quit()
  await dropMachine(context, runtime)
  await endOffer(runtime)
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
