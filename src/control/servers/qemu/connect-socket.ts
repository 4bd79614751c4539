import { once } from 'node:events'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { LibraryError } from '#base/errors.ts'

/** open(2)'s O_PATH, which Node has no name for: a file without the right to read it. */
const O_PATH = 0o10000000

/**
 * Connects to a socket in a server's folder. The folder belongs to whom QEMU runs as, so a guest that broke out of its
 * QEMU could put a link there to a socket of the host's: what is connected to is what was looked at, and a socket.
 * This way the path may also be longer than the 107 bytes that a socket's address holds.
 * @throws unavailable where there is none, or nobody listens
 */
export async function connectSocket(folder: string, name: string): Promise<Socket> {
  try {
    await using file = await open(join(folder, name), O_PATH | constants.O_NOFOLLOW)
    if (!(await file.stat()).isSocket()) throw new Error(`${name} is not a socket`)
    const socket = connect(`/proc/self/fd/${file.fd}`)
    await once(socket, 'connect')
    // A connection that breaks is one that closes, also before its user listens.
    socket.on('error', () => {})
    return socket
  } catch (cause) {
    throw new LibraryError('unavailable', `connect to ${name} of a server: nobody listens there`, { cause })
  }
}

const BYTES_PER_SECOND = 1024 * 1024
const BURST = 8 * BYTES_PER_SECOND

/** Reads from a QEMU no faster than an honest one speaks, so that who floods us waits, and nobody else. */
export function pace(socket: Socket): void {
  let left = BURST
  let from = performance.now()
  socket.on('data', (chunk: Buffer) => {
    const now = performance.now()
    left = Math.min(BURST, left + ((now - from) / 1000) * BYTES_PER_SECOND) - chunk.length
    from = now
    if (left >= 0) return
    socket.pause()
    setTimeout(() => socket.resume(), (-left / BYTES_PER_SECOND) * 1000).unref()
  })
}
