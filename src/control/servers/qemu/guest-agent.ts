import { randomInt } from 'node:crypto'
import type { Socket } from 'node:net'
import { LibraryError } from '#base/errors.ts'
import { connectSocket, pace } from './connect-socket.ts'
import { MACHINE_FILES } from './machine.ts'
import { fields, LineFeed, shortText, within } from './qmp.ts'

/** An agent that is there answers in a few milliseconds, on a host that is busy in more. */
const PROBE_MS = 1000

/** What an agent refuses, it refuses at once. */
const REFUSAL_MS = 300

/** To write out all file systems. */
const FREEZE_MS = 5000

/** A guest's own helper, which may say anything: what it answers is believed of that guest only. */
interface GuestAgent extends Disposable {
  /** Resolves with what it returns; rejects where it refuses, or does not answer in time. */
  execute(command: string, args: object, limitMs: number): Promise<unknown>
}

export interface Pause {
  readonly pausedMs: number
  readonly frozen: boolean
}

/**
 * Does something while the guest's file systems are frozen, where its agent answers and can do that.
 * @returns whether they were, and for how long the guest could not write: while it is asked for an agent, it can
 * @throws unavailable where they could not be thawed: a guest that stays frozen is worse than a snapshot that failed
 */
export async function whileFrozen(folder: string | undefined, change: () => Promise<void>): Promise<Pause> {
  using agent = await askAgent(folder)
  const from = performance.now()
  if (!agent) {
    await change()
    return { pausedMs: performance.now() - from, frozen: false }
  }
  let isFrozen = false
  try {
    const count = await agent.execute('guest-fsfreeze-freeze', {}, FREEZE_MS).catch(() => 0)
    isFrozen = typeof count === 'number' && count > 0
    await change()
  } finally {
    // Also where freezing was not answered: it may be done later, and then this comes after it.
    await agent.execute('guest-fsfreeze-thaw', {}, FREEZE_MS).catch((cause: unknown) => {
      if (isFrozen)
        throw new LibraryError('unavailable', "thaw the guest's file systems: no answer", { cause })
    })
  }
  return { pausedMs: performance.now() - from, frozen: isFrozen }
}

/** Thaws what somebody froze and could not thaw any more, as a daemon that was killed in between. */
export async function thawLeft(folder: string | undefined): Promise<void> {
  using agent = await askAgent(folder)
  if ((await agent?.execute('guest-fsfreeze-status', {}, PROBE_MS)) !== 'frozen') return
  await agent?.execute('guest-fsfreeze-thaw', {}, FREEZE_MS)
}

/** Tells a guest's agent what it gives no answer to; false where there is none, or it refuses. */
export async function tellAgent(folder: string | undefined, command: string, args: object): Promise<boolean> {
  using agent = await askAgent(folder)
  if (!agent) return false
  return await agent.execute(command, args, REFUSAL_MS).then(
    () => true,
    (error: unknown) => !(error instanceof AgentRefusal),
  )
}

/**
 * A guest's agent; undefined where none answers in time, or it is known that none listens.
 * @see QEMU docs/interop/qemu-ga-ref, "guest-sync-delimited"
 */
async function askAgent(folder: string | undefined): Promise<GuestAgent | undefined> {
  if (folder === undefined) return undefined
  const socket = await connectSocket(folder, MACHINE_FILES.agent).catch(() => undefined)
  if (!socket) return undefined
  const execute = talkTo(socket)
  const id = randomInt(2 ** 32)
  try {
    // What an earlier conversation left is passed over: this answer alone has the number.
    await execute('guest-sync-delimited', { id }, PROBE_MS, id)
  } catch {
    socket.destroy()
    return undefined
  }
  return {
    execute: (command, args, limitMs) => execute(command, args, limitMs),
    [Symbol.dispose]: () => socket.destroy(),
  }
}

class AgentRefusal extends Error {}

function talkTo(socket: Socket) {
  let waiting: { readonly answer: PromiseWithResolvers<unknown>; readonly expected: unknown } | undefined
  const lines = new LineFeed()
  const receive = (line: string) => {
    // Each delimited answer is preceded by a byte that no text has.
    const message = fields(JSON.parse(line.slice(line.lastIndexOf('\ufffd') + 1)))
    if (!waiting) return
    if (waiting.expected !== undefined && message.return !== waiting.expected) return
    if ('error' in message) waiting.answer.reject(new AgentRefusal(shortText(fields(message.error).desc)))
    else waiting.answer.resolve(message.return)
  }
  pace(socket)
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const line of lines.push(chunk)) receive(line)
    } catch {
      socket.destroy()
    }
  })
  socket.on('close', () => waiting?.answer.reject(new Error('the agent went away')))

  return async (command: string, args: object, limitMs: number, expected?: unknown) => {
    const answer = Promise.withResolvers<unknown>()
    // What is asked after the connection broke is answered by nobody.
    if (socket.destroyed) throw new Error('the agent went away')
    waiting = { answer, expected }
    const text = `${JSON.stringify({ execute: command, arguments: args })}\n`
    // The same byte makes the agent forget half a command that it had.
    socket.write(expected === undefined ? text : Buffer.concat([Buffer.of(0xff), Buffer.from(text)]))
    return within(answer.promise, limitMs)
  }
}
