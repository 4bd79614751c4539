import { MalformedPacket, PACKET_MAX } from './wire.ts'

/** Bytes of a length field. */
const LENGTH = 4
/** Bytes of a packet whose memory is worth using again. */
const LARGE = 64 * 1024
/** Packets whose memory is kept; a client has no more of its writes under way. */
const FREE_MAX = 8

/**
 * Cuts what a channel receives into packets, copying only those that arrive in pieces. A packet is handed out without
 * its length, as type and fields; its bytes stay as they are until it is given back, which it need not be.
 */
export class PacketCutter {
  readonly #onPacket: (packet: Buffer) => void
  /** A length that has not wholly arrived. */
  #head: Buffer = Buffer.alloc(0)
  #packet: Buffer | undefined
  #filled = 0
  readonly #free: ArrayBuffer[] = []

  constructor(onPacket: (packet: Buffer) => void) {
    this.#onPacket = onPacket
  }

  /** @throws MalformedPacket where a packet is longer than any may be */
  push(chunk: Buffer): void {
    let at = this.#packet ? this.#fill(chunk, 0) : 0
    if (this.#head.length > 0) {
      chunk = Buffer.concat([this.#head, chunk])
      this.#head = Buffer.alloc(0)
    }
    while (chunk.length - at >= LENGTH) {
      const length = chunk.readUInt32BE(at)
      if (length === 0 || length > PACKET_MAX) {
        throw new MalformedPacket(`a packet of ${length} bytes, where 1 to ${PACKET_MAX} are allowed`)
      }
      at += LENGTH
      if (chunk.length - at >= length) {
        this.#onPacket(chunk.subarray(at, at + length))
        at += length
      } else {
        this.#packet = this.#takeMemory(length)
        at = this.#fill(chunk, at)
      }
    }
    if (at < chunk.length) this.#head = Buffer.from(chunk.subarray(at))
  }

  /** Nobody needs the packet any more. */
  giveBack({ buffer }: Buffer): void {
    const isOurs = buffer instanceof ArrayBuffer && buffer.byteLength === PACKET_MAX
    if (isOurs && this.#free.length < FREE_MAX) this.#free.push(buffer)
  }

  #takeMemory(length: number): Buffer {
    if (length < LARGE) return Buffer.allocUnsafe(length)
    const memory = this.#free.pop() ?? new ArrayBuffer(PACKET_MAX)
    return Buffer.from(memory, 0, length)
  }

  /** @returns where the rest of the chunk begins */
  #fill(chunk: Buffer, at: number): number {
    const packet = this.#packet
    if (!packet) return at
    const count = Math.min(packet.length - this.#filled, chunk.length - at)
    packet.set(chunk.subarray(at, at + count), this.#filled)
    this.#filled += count
    if (this.#filled === packet.length) {
      this.#packet = undefined
      this.#filled = 0
      this.#onPacket(packet)
    }
    return at + count
  }
}
