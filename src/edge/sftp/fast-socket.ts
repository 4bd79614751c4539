import { createSecretKey } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Connection } from 'ssh2'

/** Bytes for a client that reads nothing, after which nothing more is read of it. */
const UNSENT_MAX = 8 * 1024 * 1024

/**
 * The SSH library writes three times for each packet; what is written in one turn goes out in one call of the system,
 * which is a third of the time a download takes. It also answers without end a client that asks and does not read:
 * that one is not listened to until it reads.
 */
export function gatherWrites(socket: Socket): void {
  socket.setNoDelay(true)
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
  let isCorked = false
  const uncork = () => {
    isCorked = false
    socket.uncork()
    if (socket.writableLength > UNSENT_MAX && !socket.isPaused()) {
      socket.pause()
      socket.once('drain', () => socket.resume())
    }
  }
  socket.write = (...args: unknown[]) => {
    if (!isCorked) {
      isCorked = true
      socket.cork()
      process.nextTick(uncork)
    }
    return write(...args)
  }
}

/** What the library has of a connection whose cipher is AES-GCM. */
interface Inside {
  readonly _protocol?: {
    readonly _cipher?: { _encKey?: unknown }
    readonly _decipher?: { _decipherKey?: unknown }
  }
}

/**
 * The SSH library makes a cipher for each packet from the bytes of the key, and Node then makes the key anew each
 * time: half of what a packet costs. A key that is made once does the same. To be called after each key exchange; it
 * changes nothing where the library keeps its keys elsewhere.
 */
export function makeKeysOnce(connection: Connection): void {
  const { _cipher: cipher, _decipher: decipher } = (connection as unknown as Inside)._protocol ?? {}
  if (cipher && Buffer.isBuffer(cipher._encKey)) cipher._encKey = createSecretKey(cipher._encKey)
  if (decipher && Buffer.isBuffer(decipher._decipherKey))
    decipher._decipherKey = createSecretKey(decipher._decipherKey)
}
