import type { Socket } from 'node:net'
import ssh2, { type ServerConfig } from 'ssh2'
import { type ServedConnection, serveConnection } from './connection.ts'
import { gatherWrites } from './fast-socket.ts'
import type { Desk } from './rpc-methods.ts'
import type { SftpSessionDeps } from './sftp-session.ts'

export interface SshLimits {
  /** Milliseconds until somebody must be logged in. */
  readonly graceMs: number
  /** Failed attempts on one connection. */
  readonly tries: number
  /** Milliseconds without a request or anything of an answer. */
  readonly idleMs: number
  /** Open files and directories of one connection. */
  readonly handles: number
}

export interface SshServerDeps extends Pick<SftpSessionDeps, 'contents' | 'now'> {
  /** @param address whose connection it was */
  readonly onBug: (error: unknown, address: string) => void
  /** As OpenSSH keeps them. */
  readonly hostKeys: readonly string[]
  readonly desk: Desk
  readonly limits: SshLimits
}

/** The connections of one process. */
export interface SshServer {
  /** Serves a connection; resolves once it is gone and nothing of it is left. */
  serve(socket: Socket, address: string): Promise<void>
  /** Ends connections as they have nothing to do, and all of them after a while; resolves once they are gone. */
  stop(graceMs: number): Promise<void>
}

/** Says nothing of what runs here. */
const IDENT = 'ImageLibrary'
const KEEPALIVE_MS = 30_000
const LOOK_MS = 200

/** AES-GCM first, which is fast here; the library has no fast chacha20, which clients would choose. */
const ALGORITHMS = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group16-sha512',
    'diffie-hellman-group14-sha256',
  ],
  cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes128-ctr', 'aes192-ctr', 'aes256-ctr'],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'],
  compress: ['none'],
} satisfies ServerConfig['algorithms']

export function createSshServer(deps: SshServerDeps): SshServer {
  const { desk, limits, now, contents, onBug } = deps
  const config: ServerConfig = {
    hostKeys: deps.hostKeys.map((text) => ({ key: parsed(text) })),
    ident: IDENT,
    algorithms: ALGORITHMS,
    keepaliveInterval: KEEPALIVE_MS,
  }
  const open = new Map<Socket, ServedConnection>()
  const killed = new AbortController()

  return {
    async serve(socket, address) {
      gatherWrites(socket)
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
      const grace = setTimeout(() => socket.destroy(), limits.graceMs)
      const onLogin = () => clearTimeout(grace)
      const session = {
        contents,
        now,
        onBug: (error: unknown) => onBug(error, address),
        signal: killed.signal,
      }
      let state: ServedConnection | undefined
      // The library tells of a connection without its socket, so each has a server of its own; and what it says next
      // may be in the same chunk of bytes.
      const server = new ssh2.Server(config, (connection) => {
        state = serveConnection({ connection, socket, address, desk, limits, session, onLogin })
        open.set(socket, state)
      })
      server.injectSocket(socket)
      await closed
      clearTimeout(grace)
      open.delete(socket)
      await state?.cleanUp()
    },

    async stop(graceMs) {
      const deadline = now() + graceMs
      while (open.size > 0) {
        for (const [socket, connection] of open) {
          if (now() >= deadline) socket.destroy()
          else if (!connection.isBusy()) connection.end()
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
      }
    },
  }
}

function parsed(text: string): ssh2.ParsedKey {
  const key = ssh2.utils.parseKey(text)
  if (key instanceof Error) throw key
  return key
}
