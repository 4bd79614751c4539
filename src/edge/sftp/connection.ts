import type { Socket } from 'node:net'
import type { Connection, ServerChannel, Session } from 'ssh2'
import { createAuthentication } from './authentication.ts'
import { speedUp } from './fast-cipher.ts'
import { PacketCutter } from './framing.ts'
import type { HandleCount } from './open-handles.ts'
import { createOutlet } from './outlet.ts'
import { type Desk, filesOf } from './rpc-methods.ts'
import { SftpSession, type SftpSessionDeps } from './sftp-session.ts'
import type { SshLimits } from './ssh-server.ts'

/** Channels of one connection: some clients open one for each transfer. */
const CHANNELS_MAX = 16

export interface ConnectionOptions {
  readonly connection: Connection
  readonly socket: Socket
  readonly address: string
  readonly desk: Desk
  readonly limits: SshLimits
  readonly session: Omit<SftpSessionDeps, 'files' | 'handles' | 'outlet' | 'onPressure' | 'onTaken'>
  readonly onLogin: () => void
}

export interface ServedConnection {
  /** Whether its client waits for something or has something open. */
  isBusy(): boolean
  /** Tells the client that this is the end. */
  end(): void
  /** To be called once the socket is closed; resolves when nothing is left open. */
  cleanUp(): Promise<void>
}

/** One connection: somebody logs in and opens channels, in which nothing but the subsystem `sftp` is to be had. */
export function serveConnection(options: ConnectionOptions): ServedConnection {
  const { connection, socket, address, desk, limits, onLogin } = options
  const { now, onBug } = options.session
  const handles: HandleCount = { max: limits.handles, open: 0 }
  const channels = new Map<SftpSession, () => Promise<void>>()
  let lastActive = now()
  let login: number | undefined
  let isClosed = false

  const end = () => {
    connection.end()
    socket.destroySoon()
  }
  const onActive = () => {
    lastActive = now()
  }

  async function authenticate(attempt: () => Promise<number | undefined>): Promise<void> {
    const number = await attempt()
    if (number === undefined) return
    if (isClosed || login !== undefined) await desk.logout(number)
    else {
      login = number
      // Told by nobody, a client that reads nothing would keep it open.
      desk.untilOver(number).then(() => socket.destroy(), onBug)
    }
  }

  // Each channel waits for it to drain.
  socket.setMaxListeners(0)
  const answer = createAuthentication({ desk, address, tries: limits.tries, end })
  connection.on('error', () => undefined)
  connection.on('handshake', () => void speedUp(connection))
  connection.on('authentication', (context) => void authenticate(() => answer(context)).catch(onBug))
  connection.once('ready', () => {
    onLogin()
    onActive()
  })
  connection.on('session', (accept, reject) => {
    if (channels.size >= CHANNELS_MAX) return reject()
    serveSession(accept())
  })

  /** What is not asked for here, shells, commands, terminals and forwarding, the library refuses by itself. */
  function serveSession(session: Session): void {
    session.on('subsystem', (accept, reject, { name }) => {
      if (name !== 'sftp' || login === undefined) reject()
      else serveChannel(accept(), login)
    })
  }

  function serveChannel(channel: ServerChannel, number: number): void {
    const outlet = createOutlet({ channel, socket, onProgress: onActive })
    const onPressure = (tooMuch: boolean) => void (tooMuch ? channel.pause() : channel.resume())
    const files = filesOf(desk, number)
    const cutter = new PacketCutter((packet) => session.receive(packet))
    const onTaken = (packet: Buffer) => cutter.giveBack(packet)
    const session = new SftpSession({ ...options.session, files, handles, outlet, onPressure, onTaken })
    let ending: Promise<void> | undefined
    const finish = () => {
      ending ??= session.end().finally(() => channels.delete(session))
      return ending
    }
    channels.set(session, async () => {
      outlet.close()
      await finish()
    })
    channel.on('data', (chunk: Buffer) => {
      onActive()
      try {
        cutter.push(chunk)
      } catch {
        // Whoever breaks the protocol cannot be told so.
        end()
      }
    })
    // A client that has no more requests waits for our end.
    channel.once('end', () => {
      const close = () => {
        channel.exit(0)
        channel.end()
      }
      session.settle().then(finish).then(close, onBug)
    })
    channel.once('close', () => {
      outlet.close()
      finish().catch(onBug)
    })
  }

  const idle = setInterval(
    () => {
      if (now() - lastActive > limits.idleMs) end()
    },
    Math.min(limits.idleMs, 10_000),
  )

  return {
    isBusy: () => [...channels.keys()].some((session) => session.isBusy),
    end,
    async cleanUp() {
      isClosed = true
      clearInterval(idle)
      await Promise.allSettled([...channels.values()].map((finish) => finish()))
      if (login !== undefined) await desk.logout(login)
    },
  }
}
