import { Socket } from 'node:net'
import { createContentStore } from '#data/content/create-content-store.ts'
import { openStore } from '#data/store/open-store.ts'
import type { FromProcess, ProcessSetup, ToProcess } from './process-messages.ts'
import { createDeskCaller } from './rpc.ts'
import type { Desk } from './rpc-methods.ts'
import { createSshServer, type SshServer } from './ssh-server.ts'
import { Traffic } from './traffic.ts'

/** Blocks in memory of a process with a few connections: there are several processes. */
const SLOTS = 40
/** How often it says what it did. */
const MEASURED_MS = 1000

const send = (message: FromProcess): void => {
  if (process.connected) process.send?.(message)
}

function onBug(error: unknown, address?: string): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  send({ kind: 'bug', message, stack, address })
}

/** Has collection leave alone what this process writes. */
async function keep(desk: Desk): Promise<AsyncDisposable> {
  const lease = await desk.keep()
  return { [Symbol.asyncDispose]: () => desk.release(lease) }
}

async function setUp(setup: ProcessSetup, desk: Desk, traffic: Traffic): Promise<SshServer> {
  const { hostKeys, limits, ...options } = setup
  const { clock } = traffic
  const store = await openStore(options.storePlace, { onTime: clock.record })
  const observer = { onStoreTimes: clock.recordAll, onDeath: () => traffic.died() }
  const contents = createContentStore({
    ...{ ...options, ...observer, slots: SLOTS, store },
    keep: () => keep(desk),
  })
  return createSshServer({ hostKeys, limits, desk, contents, now: Date.now, onBug })
}

/** A process that has connections: it encrypts, and moves bytes between them and the store; all else it asks for. */
function main(): void {
  const caller = createDeskCaller(send)
  const traffic = new Traffic()
  let server: Promise<SshServer> | undefined
  const tellMeasured = () => {
    const measured = traffic.take()
    if (measured) send({ kind: 'measured', ...measured })
  }
  setInterval(tellMeasured, MEASURED_MS).unref()

  async function serve(id: number, address: string, socket: Socket): Promise<void> {
    traffic.watch(socket)
    try {
      const ssh = await server
      if (ssh) await ssh.serve(socket, address)
    } finally {
      socket.destroy()
      traffic.forget(socket)
      tellMeasured()
      send({ kind: 'closed', id })
    }
  }

  async function stop(graceMs: number): Promise<void> {
    await (await server)?.stop(graceMs)
    tellMeasured()
    process.exit(0)
  }

  process.on('message', (message: ToProcess, handle?: unknown) => {
    if (message.kind === 'answer') caller.receive(message)
    else if (message.kind === 'setup') server = setUp(message, caller.desk, traffic)
    else if (message.kind === 'stop') stop(message.graceMs).catch((error: unknown) => onBug(error))
    // Where a client is gone before it got here, there is no socket.
    else if (handle instanceof Socket)
      serve(message.id, message.address, handle).catch((error: unknown) => onBug(error, message.address))
    else send({ kind: 'closed', id: message.id })
  })
  // Without the main process nothing can be answered; it alone decides when this one ends.
  process.on('disconnect', () => process.exit(1))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
}

if (import.meta.main) main()
