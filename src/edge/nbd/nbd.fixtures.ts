import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { ExportedDisk } from '#data/content/exported-disk.ts'
import { createOffer } from './offer.ts'
import { OPTION } from './protocol.ts'
import { Wire } from './wire.ts'

export const MANIFEST = 'ab'.repeat(32)

/** A disk of bytes in memory; pieces of 4 KiB that are all zeros are told as such. */
export function diskOf(bytes: Buffer, change: Partial<ExportedDisk> = {}): ExportedDisk {
  const PIECE = 4096
  return {
    size: bytes.length,
    async *read(offset, length) {
      for (let at = offset; at < offset + length; at += 10_000)
        yield bytes.subarray(at, Math.min(at + 10_000, offset + length))
    },
    async status(offset, length, most) {
      const parts: { length: number; isZero: boolean }[] = []
      for (let at = offset; at < offset + length; ) {
        const end = Math.min(offset + length, at - (at % PIECE) + PIECE)
        const isZero = bytes.subarray(at, end).every((byte) => byte === 0)
        const last = parts.at(-1)
        if (last?.isZero === isZero) last.length += end - at
        else if (parts.length === most) break
        else parts.push({ length: end - at, isZero })
        at = end
      }
      return parts
    },
    async [Symbol.asyncDispose]() {},
    ...change,
  }
}

/** Offers a disk on a socket in a new folder. */
export async function offerDisk(t: TestContext, disk: ExportedDisk) {
  const folder = await mkdtemp(join(tmpdir(), 'nbd-'))
  const path = join(folder, 's.sock')
  const bugs: unknown[] = []
  const log = { error: (bug: unknown) => void bugs.push(bug) }
  const offer = await createOffer({ openDisk: async () => disk, log })({
    path,
    manifest: MANIFEST,
    owner: undefined,
  })
  t.after(async () => {
    await offer[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })
  return { path, folder, bugs, offer, connect: () => connectTo({ path }) }
}

export interface Client extends Disposable {
  readonly socket: Socket
  readonly wire: Wire
}

export async function connectTo(where: { path: string } | { host: string; port: number }): Promise<Client> {
  const socket = connect(where).on('error', () => {})
  await once(socket, 'connect')
  return { socket, wire: new Wire(socket, undefined), [Symbol.dispose]: () => void socket.destroy() }
}

/** Begins as a client does; both flags are set. */
export async function greet({ wire }: Client, flags = 3): Promise<void> {
  const greeting = await wire.read(18)
  if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('this is no NBD server')
  await wire.send(u32(flags))
}

export const u16 = (value: number) => Buffer.from([value >> 8, value & 255])
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}
export const text = (value: string) => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)])
export const goData = (name: string) => Buffer.concat([text(name), u16(0)])
export const contextData = (name: string, ...queries: string[]) =>
  Buffer.concat([text(name), u32(queries.length), ...queries.map(text)])

export interface OptionAnswer {
  readonly reply: number
  readonly data: Buffer
}

export const sendOption = ({ wire }: Client, option: number, data: Buffer = Buffer.alloc(0)) =>
  wire.send(Buffer.from('IHAVEOPT'), u32(option), u32(data.length), data)

/** All replies to one option: up to an acknowledgement or a refusal. */
export async function ask(client: Client, option: number, data?: Buffer): Promise<OptionAnswer[]> {
  await sendOption(client, option, data)
  const answers: OptionAnswer[] = []
  for (;;) {
    const head = await client.wire.read(20)
    const answer = { reply: head.readUInt32BE(12), data: await client.wire.read(head.readUInt32BE(16)) }
    answers.push(answer)
    if (answer.reply === 1 || answer.reply >= 2 ** 31) return answers
  }
}

/** Negotiates as QEMU does. @returns what `ask` says of the last step */
export async function open(client: Client, name = '', { structured = true } = {}): Promise<OptionAnswer[]> {
  await greet(client)
  if (structured) {
    await ask(client, OPTION.structuredReply)
    await ask(client, OPTION.setMetaContext, contextData(name, 'base:allocation'))
  }
  return await ask(client, OPTION.go, goData(name))
}

export interface Command {
  readonly command: number
  readonly cookie?: number
  readonly flags?: number
  readonly offset?: number | bigint
  readonly length?: number
}

export const commandBytes = ({ command, cookie = 1, flags = 0, offset = 0, length = 0 }: Command) =>
  Buffer.concat([u32(0x25609513), u16(flags), u16(command), u64(cookie), u64(offset), u32(length)])

export interface Chunk {
  readonly isLast: boolean
  readonly type: number
  readonly cookie: number
  readonly payload: Buffer
}

export async function readChunk({ wire }: Client): Promise<Chunk> {
  const head = await wire.read(20)
  if (head.readUInt32BE(0) !== 0x668e33ef) throw new Error(`no chunk: ${head.toString('hex')}`)
  return {
    isLast: (head.readUInt16BE(4) & 1) === 1,
    type: head.readUInt16BE(6),
    cookie: Number(head.readBigUInt64BE(8)),
    payload: await wire.read(head.readUInt32BE(16)),
  }
}

/** The chunks of one command, in order, where no other is under way. */
export async function run(client: Client, command: Command): Promise<Chunk[]> {
  await client.wire.send(commandBytes(command))
  const chunks: Chunk[] = []
  do chunks.push(await readChunk(client))
  while (!chunks.at(-1)?.isLast)
  return chunks
}

/** What chunks of a read give, in a buffer of `length` bytes from `offset` on; holes are zeros. */
export function gather(chunks: readonly Chunk[], offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, 0xee)
  for (const { type, payload } of chunks) {
    const at = Number(payload.readBigUInt64BE(0)) - offset
    if (type === 1) bytes.set(payload.subarray(8), at)
    else if (type === 2) bytes.fill(0, at, at + payload.readUInt32BE(8))
    else throw new Error(`chunk of type ${type}: ${payload}`)
  }
  return bytes
}

/** @returns number and message */
export function errorOf([chunk]: readonly Chunk[]): [number, string] {
  if (chunk?.type !== 2 ** 15 + 1) throw new Error(`no error but a chunk of type ${chunk?.type}`)
  return [chunk.payload.readUInt32BE(0), chunk.payload.toString('utf8', 6)]
}

/** Whether the server closes the connection without another word. */
export async function isClosed({ wire }: Client): Promise<boolean> {
  return await wire.read(1).then(
    () => false,
    () => true,
  )
}
