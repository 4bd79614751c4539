import { randomInt } from 'node:crypto'
import type { Socket } from 'node:net'
import { connectSocket } from './connect-socket.ts'
import { MACHINE_FILES } from './machine.ts'
import { fields, LineFeed, within } from './qmp.ts'

/** A guest's own helper, which may say anything: what it answers is believed of that guest only. */
export interface GuestAgent extends Disposable {
  /** Resolves with what it returns; rejects where it refuses, or does not answer in time. */
  execute(command: string, args: object, limitMs: number): Promise<unknown>
}

/**
 * A guest's agent; undefined where none answers in time.
 * @see QEMU docs/interop/qemu-ga-ref, "guest-sync-delimited"
 */
export async function askAgent(folder: string, limitMs: number): Promise<GuestAgent | undefined> {
  const socket = await connectSocket(folder, MACHINE_FILES.agent).catch(() => undefined)
  if (!socket) return undefined
  const execute = talkTo(socket)
  const id = randomInt(2 ** 32)
  try {
    // What an earlier conversation left is passed over: this answer alone has the number.
    await execute('guest-sync-delimited', { id }, limitMs, id)
  } catch {
    socket.destroy()
    return undefined
  }
  return {
    execute: (command, args, answerMs) => execute(command, args, answerMs),
    [Symbol.dispose]: () => socket.destroy(),
  }
}

/** Tells a guest's agent what it gives no answer to; false where there is none. */
export async function tellAgent(folder: string, command: string, args: object, limitMs: number) {
  using agent = await askAgent(folder, limitMs)
  if (!agent) return false
  // It answers only what it refuses, and that at once.
  return await agent.execute(command, args, limitMs).then(
    () => true,
    (error: unknown) => !(error instanceof AgentRefusal),
  )
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
    if ('error' in message) waiting.answer.reject(new AgentRefusal(String(fields(message.error).desc)))
    else waiting.answer.resolve(message.return)
  }
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const line of lines.push(chunk)) receive(line)
    } catch {
      socket.destroy()
    }
  })
  socket.on('error', () => {})
  socket.on('close', () => waiting?.answer.reject(new Error('the agent went away')))

  return async (command: string, args: object, limitMs: number, expected?: unknown) => {
    const answer = Promise.withResolvers<unknown>()
    waiting = { answer, expected }
    const text = `${JSON.stringify({ execute: command, arguments: args })}\n`
    // The same byte makes the agent forget half a command that it had.
    socket.write(expected === undefined ? text : Buffer.concat([Buffer.of(0xff), Buffer.from(text)]))
    return within(answer.promise, limitMs)
  }
}
