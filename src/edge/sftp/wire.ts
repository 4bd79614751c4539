/** SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02), which is what every client speaks. */

export const REQUEST = {
  init: 1,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  extended: 200,
} as const

const REPLY = {
  version: 2,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attrs: 105,
  extended: 201,
} as const

export const STATUS = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  opUnsupported: 8,
} as const

export type StatusCode = (typeof STATUS)[keyof typeof STATUS]

export const OPEN = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 } as const

/** Bytes of a packet after its length: the largest write, and what describes it. As OpenSSH's server has it. */
export const PACKET_MAX = 256 * 1024
/** The most bytes of a file in one packet, as `limits@openssh.com` tells it. */
export const TRANSFER_MAX = 255 * 1024

/** Bytes in a reply with data before the data itself. */
const DATA_HEADER = 13

/** The client broke the protocol; there is no going on with it. */
export class MalformedPacket extends Error {
  override readonly name = 'MalformedPacket'
}

/** Reads the fields of one packet in order. All functions throw MalformedPacket where it ends too early. */
export class FieldReader {
  readonly #packet: Buffer
  #at: number

  constructor(packet: Buffer, at: number) {
    this.#packet = packet
    this.#at = at
  }

  get left(): number {
    return this.#packet.length - this.#at
  }

  uint32(): number {
    return this.#packet.readUInt32BE(this.#advance(4))
  }

  /** An offset or size; those that no file reaches are all the same to us. */
  uint64(): number {
    const value = this.#packet.readBigUInt64BE(this.#advance(8))
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value)
  }

  /** A view, valid as long as the packet is. */
  bytes(): Buffer {
    const length = this.uint32()
    const start = this.#advance(length)
    return this.#packet.subarray(start, start + length)
  }

  /** For what is no name of a file. */
  text(): string {
    return this.bytes().toString('latin1')
  }

  #advance(count: number): number {
    const start = this.#at
    if (start + count > this.#packet.length) throw new MalformedPacket('a packet ends within a field')
    this.#at += count
    return start
  }
}

function startReply(type: number, id: number, length: number): Buffer {
  const reply = Buffer.allocUnsafe(9 + length)
  reply.writeUInt32BE(5 + length, 0)
  reply[4] = type
  reply.writeUInt32BE(id, 5)
  return reply
}

function stringField(value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  const field = Buffer.allocUnsafe(4 + bytes.length)
  field.writeUInt32BE(bytes.length, 0)
  field.set(bytes, 4)
  return field
}

function replyOf(type: number, id: number, ...fields: readonly Uint8Array[]): Buffer {
  const head = startReply(type, id, 0)
  const reply = Buffer.concat([head, ...fields])
  reply.writeUInt32BE(reply.length - 4, 0)
  return reply
}

export function uint32Field(value: number): Buffer {
  const field = Buffer.allocUnsafe(4)
  field.writeUInt32BE(value, 0)
  return field
}

export function uint64Fields(...values: readonly number[]): Buffer {
  const fields = Buffer.allocUnsafe(8 * values.length)
  values.forEach((value, index) => void fields.writeBigUInt64BE(BigInt(value), 8 * index))
  return fields
}

/** @param extensions name and data of each */
export function versionReply(extensions: readonly (readonly [name: string, data: string])[]): Buffer {
  const pairs = extensions.flatMap(([name, data]) => [stringField(name), stringField(data)])
  return replyOf(REPLY.version, 3, ...pairs)
}

export const statusReply = (id: number, code: StatusCode, message: string): Buffer =>
  replyOf(REPLY.status, id, uint32Field(code), stringField(message), stringField(''))

export const handleReply = (id: number, handle: Buffer): Buffer =>
  replyOf(REPLY.handle, id, stringField(handle))

export const attrsReply = (id: number, attributes: Buffer): Buffer => replyOf(REPLY.attrs, id, attributes)

export const extendedReply = (id: number, ...fields: readonly Uint8Array[]): Buffer =>
  replyOf(REPLY.extended, id, ...fields)

export interface NameEntry {
  readonly name: string
  /** The line of `ls -l`. */
  readonly long: string
  readonly attributes: Buffer
}

export function nameReply(id: number, entries: readonly NameEntry[]): Buffer {
  const fields = entries.flatMap(({ name, long, attributes }) => [
    stringField(name),
    stringField(long),
    attributes,
  ])
  return replyOf(REPLY.name, id, uint32Field(entries.length), ...fields)
}

/** Bytes of the largest reply with data. */
export const DATA_REPLY_MAX = DATA_HEADER + TRANSFER_MAX

/** A reply whose data is filled in piece by piece, so that bytes are copied once only. */
export class DataReply {
  readonly #reply: Buffer
  #filled = 0

  /** @param memory of DATA_REPLY_MAX bytes or as many as are needed */
  constructor(id: number, length: number, memory = Buffer.allocUnsafe(DATA_HEADER + length)) {
    this.#reply = memory.subarray(0, DATA_HEADER + length)
    this.#reply[4] = REPLY.data
    this.#reply.writeUInt32BE(id, 5)
  }

  get filled(): number {
    return this.#filled
  }

  get missing(): number {
    return this.#reply.length - DATA_HEADER - this.#filled
  }

  add(bytes: Uint8Array): void {
    this.#reply.set(bytes, DATA_HEADER + this.#filled)
    this.#filled += bytes.length
  }

  /** The packet, with as much as there is by now. */
  finish(): Buffer {
    const reply = this.#reply.subarray(0, DATA_HEADER + this.#filled)
    reply.writeUInt32BE(reply.length - 4, 0)
    reply.writeUInt32BE(this.#filled, 9)
    return reply
  }
}

export function dataReply(id: number, bytes: Uint8Array): Buffer {
  const reply = new DataReply(id, bytes.length)
  reply.add(bytes)
  return reply.finish()
}
