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
