/**
 * Numbers and shapes of the NBD protocol, as far as it is spoken here. All of it is big-endian.
 * @see https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
import { MiB } from '#base/bytes.ts'

const NBD_MAGIC = 0x4e42444d41474943n
const IHAVEOPT = 0x49484156454f5054n
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n
const REQUEST_MAGIC = 0x25609513
const SIMPLE_REPLY_MAGIC = 0x67446698
const CHUNK_MAGIC = 0x668e33ef

export const CLIENT_FLAGS = { fixedNewstyle: 1, noZeroes: 2 } as const

export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const

export const REPLY = { ack: 1, server: 2, info: 3, metaContext: 4 } as const

const FAILED = 2 ** 31
export const REFUSED = {
  unsupported: FAILED + 1,
  policy: FAILED + 2,
  invalid: FAILED + 3,
  tlsRequired: FAILED + 5,
  unknown: FAILED + 6,
  shutdown: FAILED + 7,
  tooBig: FAILED + 9,
} as const

const INFO = { export: 0, blockSize: 3 } as const

export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  writeZeroes: 6,
  blockStatus: 7,
} as const
/** The one flag of a command that means anything here: at most one extent is wanted. */
export const REQUEST_ONE = 1 << 3

export const ERROR = { notPermitted: 1, io: 5, invalid: 22 } as const

/** Has flags, read-only, flushes, and several connections see the same. */
const TRANSMISSION_FLAGS = 1 | 2 | 4 | (1 << 8)

/** A multiple of what tools ask for; a block of ours is what is cheapest to read. */
const PREFERRED_LENGTH = MiB
export const READ_MAX = 32 * MiB
/** Bytes of an export's name, and of any other text (the protocol's own limit). */
export const TEXT_MAX = 4096

const CHUNK = { none: 0, data: 1, hole: 2, blockStatus: 5, error: 2 ** 15 + 1 } as const
const CHUNK_DONE = 1

export const ALLOCATION = 'base:allocation'
export const ALLOCATION_ID = 1
const HOLE_AND_ZERO = 3

export function greeting(): Buffer {
  const bytes = Buffer.alloc(18)
  bytes.writeBigUInt64BE(NBD_MAGIC, 0)
  bytes.writeBigUInt64BE(IHAVEOPT, 8)
  bytes.writeUInt16BE(CLIENT_FLAGS.fixedNewstyle | CLIENT_FLAGS.noZeroes, 16)
  return bytes
}

export const OPTION_HEAD_SIZE = 16

/** @returns undefined where it is none */
export function readOptionHead(bytes: Buffer): { option: number; length: number } | undefined {
  if (bytes.readBigUInt64BE(0) !== IHAVEOPT) return undefined
  return { option: bytes.readUInt32BE(8), length: bytes.readUInt32BE(12) }
}

export function optionReply(option: number, reply: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(20 + data.length)
  bytes.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0)
  bytes.writeUInt32BE(option, 8)
  bytes.writeUInt32BE(reply, 12)
  bytes.writeUInt32BE(data.length, 16)
  bytes.set(data, 20)
  return bytes
}

/** A name with its length before it. */
export function serverReply(name: string): Buffer {
  const text = Buffer.from(name)
  return Buffer.concat([u32(text.length), text])
}

export const metaContextReply = (id: number): Buffer => Buffer.concat([u32(id), Buffer.from(ALLOCATION)])

/** What OPT_EXPORT_NAME is answered with. */
export function exportReply(size: number, noZeroes: boolean): Buffer {
  const bytes = Buffer.alloc(noZeroes ? 10 : 134)
  bytes.writeBigUInt64BE(BigInt(size), 0)
  bytes.writeUInt16BE(TRANSMISSION_FLAGS, 8)
  return bytes
}

/** What OPT_INFO and OPT_GO are answered with before the acknowledgement. */
export function infoReplies(size: number): Buffer[] {
  const about = Buffer.alloc(12)
  about.writeUInt16BE(INFO.export, 0)
  about.writeBigUInt64BE(BigInt(size), 2)
  about.writeUInt16BE(TRANSMISSION_FLAGS, 10)
  const lengths = Buffer.alloc(14)
  lengths.writeUInt16BE(INFO.blockSize, 0)
  lengths.writeUInt32BE(1, 2)
  lengths.writeUInt32BE(PREFERRED_LENGTH, 6)
  lengths.writeUInt32BE(READ_MAX, 10)
  return [about, lengths]
}

export interface Request {
  readonly flags: number
  readonly command: number
  /** Chosen by the client; its reply bears it. */
  readonly cookie: bigint
  readonly offset: bigint
  readonly length: number
}

export const REQUEST_SIZE = 28

/** @returns undefined where it is none */
export function readRequest(bytes: Buffer): Request | undefined {
  if (bytes.readUInt32BE(0) !== REQUEST_MAGIC) return undefined
  return {
    flags: bytes.readUInt16BE(4),
    command: bytes.readUInt16BE(6),
    cookie: bytes.readBigUInt64BE(8),
    offset: bytes.readBigUInt64BE(16),
    length: bytes.readUInt32BE(24),
  }
}

/** The data of a read that succeeds follows. */
export function simpleReply(cookie: bigint, error = 0): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0)
  bytes.writeUInt32BE(error, 4)
  bytes.writeBigUInt64BE(cookie, 8)
  return bytes
}

interface ChunkOf {
  readonly cookie: bigint
  readonly isLast: boolean
}

const CHUNK_HEAD_SIZE = 20

/** @param own bytes of the payload that are written into the chunk; @param more those that follow it */
function chunk({ cookie, isLast }: ChunkOf, type: number, own: number, more = 0): Buffer {
  const bytes = Buffer.alloc(CHUNK_HEAD_SIZE + own)
  bytes.writeUInt32BE(CHUNK_MAGIC, 0)
  bytes.writeUInt16BE(isLast ? CHUNK_DONE : 0, 4)
  bytes.writeUInt16BE(type, 6)
  bytes.writeBigUInt64BE(cookie, 8)
  bytes.writeUInt32BE(own + more, 16)
  return bytes
}

export const doneChunk = (cookie: bigint): Buffer => chunk({ cookie, isLast: true }, CHUNK.none, 0)

/** `length` bytes of data follow. */
export function dataChunk(of: ChunkOf, offset: number, length: number): Buffer {
  const bytes = chunk(of, CHUNK.data, 8, length)
  bytes.writeBigUInt64BE(BigInt(offset), CHUNK_HEAD_SIZE)
  return bytes
}

export function holeChunk(of: ChunkOf, offset: number, length: number): Buffer {
  const bytes = chunk(of, CHUNK.hole, 12)
  bytes.writeBigUInt64BE(BigInt(offset), CHUNK_HEAD_SIZE)
  bytes.writeUInt32BE(length, CHUNK_HEAD_SIZE + 8)
  return bytes
}

export function blockStatusChunk(
  cookie: bigint,
  parts: readonly { readonly length: number; readonly isZero: boolean }[],
): Buffer {
  const bytes = chunk({ cookie, isLast: true }, CHUNK.blockStatus, 4 + 8 * parts.length)
  let at = bytes.writeUInt32BE(ALLOCATION_ID, CHUNK_HEAD_SIZE)
  for (const { length, isZero } of parts) {
    at = bytes.writeUInt32BE(length, at)
    at = bytes.writeUInt32BE(isZero ? HOLE_AND_ZERO : 0, at)
  }
  return bytes
}

export function errorChunk(cookie: bigint, error: number, message: string): Buffer {
  const text = textOf(message)
  const bytes = chunk({ cookie, isLast: true }, CHUNK.error, 6 + text.length)
  bytes.writeUInt32BE(error, CHUNK_HEAD_SIZE)
  bytes.writeUInt16BE(text.length, CHUNK_HEAD_SIZE + 4)
  bytes.set(text, CHUNK_HEAD_SIZE + 6)
  return bytes
}

/** A message for a person, no longer than the protocol allows. */
export const textOf = (message: string): Buffer => Buffer.from(message.slice(0, TEXT_MAX / 4))

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
