import type { Socket } from 'node:net'
import type { ServerChannel } from 'ssh2'
import { DATA_REPLY_MAX } from './wire.ts'

/** Bytes of answers that may wait for a client; it takes no more time to send these than to load the next chunk. */
const WAITING_MAX = 512 * 1024
/** Replies whose memory is kept. */
const FREE_MAX = 4

/** Where answers go. A client that does not read them gets no more of them to be made. */
export interface Outlet {
  /** In the order of the calls; nothing where the connection is gone. */
  send(packet: Buffer): void
  /** Memory for a reply with data, which is used again once that went out. */
  takeMemory(): Buffer<ArrayBuffer>
  /** To be asked before anything large is made. */
  isFull(): boolean
  /** Resolves once there is room; at once where the connection is gone. */
  whenRoom(): Promise<void>
}

export interface OutletOptions {
  readonly channel: ServerChannel
  /** Of the channel's connection: the SSH library hands it whatever the client's window allows. */
  readonly socket: Socket
  /** Some of an answer went out. */
  readonly onProgress: () => void
}

export function createOutlet(options: OutletOptions): Outlet & { readonly close: () => void } {
  const { channel, socket, onProgress } = options
  let waiting = 0
  let closed = false
  let room: PromiseWithResolvers<void> | undefined
  const isFull = () => !closed && (waiting > WAITING_MAX || socket.writableLength > WAITING_MAX)
  const look = () => {
    if (!room || isFull()) return
    room.resolve()
    room = undefined
  }
  socket.on('drain', look)
  /** The library has copied a packet by the time it says that it is written. */
  const free: Buffer<ArrayBuffer>[] = []
  const giveBack = ({ buffer }: Buffer) => {
    if (buffer instanceof ArrayBuffer && buffer.byteLength === DATA_REPLY_MAX && free.length < FREE_MAX)
      free.push(Buffer.from(buffer))
  }
  return {
    send(packet) {
      if (closed || !channel.writable) return
      waiting += packet.length
      channel.write(packet, () => {
        waiting -= packet.length
        giveBack(packet)
        onProgress()
        look()
      })
    },
    takeMemory: () => free.pop() ?? Buffer.allocUnsafeSlow(DATA_REPLY_MAX),
    isFull,
    async whenRoom() {
      if (!isFull()) return
      room ??= Promise.withResolvers<void>()
      await room.promise
    },
    close() {
      closed = true
      socket.off('drain', look)
      look()
    },
  }
}
