import type { Socket } from 'node:net'

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
