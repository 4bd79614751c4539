import { Agent, WebSocket } from 'undici'
import { CommandError } from './failure.ts'
import type { Session } from './session.ts'

/** Ctrl-], as telnet and virsh have it. */
const LEAVE = 0x1d
const BUSY_MS = 50
/** Bytes typed or piped in that may wait for the network. */
const MAX_UNSENT = 256 * 1024

/** What opens a console. */
export interface ConsoleAccess {
  readonly id: string
  readonly url: string
  readonly token: string
}

/**
 * Connects stdin and stdout to a server's serial console until Ctrl-] is pressed, stdout is closed or the console ends.
 * A terminal is in raw mode meanwhile, so that Ctrl-C goes to the server.
 */
export async function attachSerial(session: Session, access: ConsoleAccess): Promise<void> {
  const { terminal, signal, options } = session
  const url = new URL(`${access.url.replace(/\/$/, '')}/serial`)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  const dispatcher = new Agent({ connect: { rejectUnauthorized: options.insecure !== true } })
  // In the address the token would be kept by whatever is in between.
  const socket = new WebSocket(url, { protocols: ['binary', `token.${access.token}`], dispatcher })
  socket.binaryType = 'arraybuffer'
  // What the guest said before comes with the answer: nobody may be late for it.
  socket.addEventListener('message', ({ data }) => void terminal.stdout.write(toBytes(data)))
  const closed = new Promise<string>((resolve) => {
    socket.addEventListener('close', ({ reason }) => resolve(`The console ended${reason && `: ${reason}`}.`))
  })
  try {
    await opened(socket, access.id, signal)
    const end = await converse(session, { id: access.id, socket, closed })
    terminal.info(terminal.stdin.isTTY ? `\n${end}` : end)
  } finally {
    socket.close()
    await dispatcher.destroy()
  }
}

function opened(socket: WebSocket, id: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    socket.addEventListener('open', () => resolve(), { once: true })
    socket.addEventListener('error', ({ error }) => reject(unopened(id, error)), { once: true })
  })
}

const unopened = (id: string, cause: unknown) =>
  new CommandError(`attach to the console of server ${id}: the library did not open it`, {
    cause,
    hint: 'the server has to be active, and a proxy in between has to pass on websockets',
  })

/** @returns how it ended, in a line */
function converse(
  { terminal, signal }: Session,
  { id, socket, closed }: { id: string; socket: WebSocket; closed: Promise<string> },
): Promise<string> {
  const { stdin, stdout } = terminal
  const left = 'Left the console; the server runs on.'
  const listeners = new AbortController()
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const hold = () => {
    if (socket.bufferedAmount <= MAX_UNSENT) return void stdin.resume()
    stdin.pause()
    setTimeout(hold, BUSY_MS).unref()
  }
  const onData = (chunk: Buffer) => {
    const end = stdin.isTTY ? chunk.indexOf(LEAVE) : -1
    socket.send(end < 0 ? chunk : chunk.subarray(0, end))
    if (end >= 0) resolve(left)
    else hold()
  }
  void closed.then(resolve)
  stdout.once('close', () => resolve(left))
  stdin.on('data', onData)
  signal.addEventListener('abort', () => reject(signal.reason), { signal: listeners.signal })
  if (stdin.isTTY) stdin.setRawMode(true)
  terminal.info(`Attached to the serial console of ${id}. Ctrl-] leaves it.`)
  return promise.finally(() => {
    listeners.abort()
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.off('data', onData).destroy()
  })
}

const toBytes = (data: string | ArrayBuffer): string | Uint8Array =>
  typeof data === 'string' ? data : new Uint8Array(data)
