import { MalformedPacket, PACKET_MAX } from './wire.ts'

/** Bytes of a length field. */
const LENGTH = 4

/**
 * Cuts what a channel receives into packets, copying only those that arrive in pieces. A packet is handed out without
 * its length, as type and fields; its bytes stay as they are for as long as somebody needs them.
 */
export class PacketCutter {
  readonly #onPacket: (packet: Buffer) => void
  /** A length that has not wholly arrived. */
  #head: Buffer = Buffer.alloc(0)
  #packet: Buffer | undefined
  #filled = 0

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
        this.#packet = Buffer.allocUnsafeSlow(length)
        at = this.#fill(chunk, at)
      }
    }
    if (at < chunk.length) this.#head = Buffer.from(chunk.subarray(at))
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
