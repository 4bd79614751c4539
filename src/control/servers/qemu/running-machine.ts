import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { getuid } from 'node:process'
import { orAbort } from '#base/or-abort.ts'
import { removeTap } from '../network/tap.ts'
import { connectSocket } from './connect-socket.ts'
import { createDiskGraph } from './disk-graph.ts'
import { tellAgent, thawLeft, whileFrozen } from './guest-agent.ts'
import { MACHINE_FILES, type Machine, type MachineEnd } from './machine.ts'
import { boundLog, giveFile, syncFile } from './machine-folder.ts'
import { endProcess, endStrays, type ProcessName, waitGone } from './process.ts'
import { fields, list, openQmp, type Qmp, type QmpEvent } from './qmp.ts'

/** How long a QEMU may take to write what it has when it is told to end, or has closed its monitor. */
const END_MS = 5000
const LOG_EVERY_MS = 60_000

/**
 * Takes hold of a QEMU that runs in a folder.
 * @throws unavailable where its monitor does not answer within `limitMs`
 */
export async function attachMachine(options: {
  readonly folder: string
  readonly process: ProcessName
  readonly limitMs: number
  readonly signal: AbortSignal
}): Promise<Machine> {
  const { folder, process, limitMs, signal } = options
  let end: MachineEnd | undefined
  const onEvent = ({ name, data }: QmpEvent) => {
    if (name === 'SHUTDOWN' && data.reason === 'guest-shutdown') end ??= 'powered-off'
  }
  const socket = await connectSocket(folder, MACHINE_FILES.monitor)
  const opening = openQmp({ socket, limitMs, onEvent })
  const qmp = await orAbort(opening, signal).catch((error: unknown) => {
    socket.destroy()
    throw error
  })
  const disk = createDiskGraph(qmp)
  // One that hangs is not waited for any longer; the next snapshot tries again.
  await agentFolder(qmp, folder)
    .then(thawLeft)
    .catch(() => {})
  const tap = await tapOf(process)
  let isDetached = false
  const logTimer = setInterval(() => void boundLog(folder).catch(() => {}), LOG_EVERY_MS).unref()

  const ended = qmp.closed.then(async (): Promise<MachineEnd> => {
    clearInterval(logTimer)
    // Nobody is told of what was let go of.
    if (isDetached) return new Promise<never>(() => {})
    // One that cannot be spoken to any more is of no use to anybody, and would keep its files open.
    if (!(await waitGone(process, END_MS))) await endProcess(process)
    await endRest(folder).catch(() => {})
    if (tap !== undefined) await removeTap(tap).catch(() => {})
    return end ?? 'died'
  })

  return {
    ended,
    layers: disk.layers,
    usesExport: disk.usesExport,
    switchToBase: disk.switchToBase,
    mergeLayers: disk.mergeLayers,
    addLayer: (name) =>
      disk.addLayer(name, {
        async before(top) {
          await giveFile(join(folder, name), await stat(folder))
          // What is written out before the guest waits is not written out while it does.
          await syncFile(join(folder, top))
        },
        frozen: async (change) => whileFrozen(await agentFolder(qmp, folder), change),
      }),
    async isHeld() {
      const { status } = fields(await qmp.execute('query-status'))
      return status === 'io-error' || status === 'paused'
    },
    release: () => tell(qmp, 'cont'),
    pressPower: () => tell(qmp, 'system_powerdown'),
    async askReboot() {
      if (await tellAgent(await agentFolder(qmp, folder), 'guest-shutdown', { mode: 'reboot' })) return
      const keys = ['ctrl', 'alt', 'delete'].map((data) => ({ type: 'qcode', data }))
      await tell(qmp, 'send-key', { keys })
    },
    reset: () => tell(qmp, 'system_reset'),
    async quit() {
      end ??= 'quit'
      const isHeard = await qmp.execute('quit', {}, END_MS).then(
        () => true,
        () => false,
      )
      if (!(isHeard && (await waitGone(process, END_MS)))) await endProcess(process)
      qmp.close()
      await ended
    },
    detach() {
      isDetached = true
      qmp.close()
    },
  }
}

/** Where to speak to the guest's agent; undefined where no program of the guest listens: nobody need wait for it. */
async function agentFolder(qmp: Qmp, folder: string): Promise<string | undefined> {
  const channels = list(await qmp.execute('query-chardev'))
  return channels.some((channel) => channel.label === 'agent' && channel['frontend-open'] === true)
    ? folder
    : undefined
}

/**
 * The network device that was made for a QEMU, as its arguments say. Whoever took it over may have changed those: only
 * names that are ours are believed.
 */
async function tapOf({ pid }: ProcessName): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return /\0tap,[^\0]*\bifname=(il-tap\d+)[,\0]/.exec(text)?.[1]
}

/** What runs beside a QEMU as its user, although it may begin nothing. */
async function endRest(folder: string): Promise<void> {
  const { uid } = await stat(folder)
  if (uid !== getuid?.()) await endStrays(uid, folder)
}

async function tell(qmp: Qmp, command: string, args?: object): Promise<void> {
  await qmp.execute(command, args)
}
