/** Streams of messages from clients: packets of SFTP, archives of tar. */
import { ByteFeed } from '#base/byte-feed.ts'
import { LibraryError } from '#base/errors.ts'
import { noise, texty } from '#data/format/qcow2/qcow2.fixtures.ts'
import { readAttributes } from '#edge/sftp/attributes.ts'
import { PacketCutter } from '#edge/sftp/framing.ts'
import { FieldReader, MalformedPacket, OPEN, REQUEST } from '#edge/sftp/wire.ts'
import { readTar, TarProblem } from '#edge/swift/tar-reader.ts'
import { inChunks } from '../support/compressed-streams.ts'
import { below, pick } from './mutation.ts'
import type { Field, Random, Target } from './target.ts'

const be32 = (value: number) => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value])
const text = (value: Uint8Array | string) => Buffer.concat([be32(value.length), Buffer.from(value)])

function packet(type: number, ...fields: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat([Buffer.from([type]), ...fields])
  return Buffer.concat([be32(body.length), body])
}

function makePackets(random: Random): Buffer {
  const attributes = Buffer.concat([
    be32(pick([0, 1, 4, 15, 0x80000000, 0x8000000f], random)),
    noise(20, 1),
    be32(1),
    text('a'),
    text('b'),
  ])
  const makers = [
    () => packet(REQUEST.open, be32(1), text('/a/b'), be32(OPEN.read), attributes),
    () => packet(REQUEST.setstat, be32(2), text('/a'), attributes),
    () => packet(REQUEST.write, be32(3), text('handle'), noise(8, 2), text(texty(below(3000, random), 3))),
    () => packet(REQUEST.rename, be32(4), text('/a'), text('/b')),
  ]
  return Buffer.concat(Array.from({ length: 1 + below(5, random) }, () => pick(makers, random)()))
}

/** Reads a packet's fields as requests have them. */
function readFields(bytes: Buffer): string {
  const fields = new FieldReader(bytes, 1)
  if (bytes[0] === REQUEST.write) {
    return `${fields.uint32()} ${fields.text()} ${fields.uint64()} ${fields.bytes().length}`
  }
  const id = fields.uint32()
  const name = fields.text()
  if (bytes[0] === REQUEST.open) fields.uint32()
  if (bytes[0] === REQUEST.rename) return `${id} ${name} ${fields.text()}`
  return `${id} ${name} ${JSON.stringify(readAttributes(fields))}`
}

export const sftpTarget: Target = {
  name: 'sftp',
  seeds: () => [1, 2, 3, 4, 5, 6].map((seed) => makePackets(() => (seed * 0.37) % 1)),
  make: makePackets,
  fields: (input) =>
    Array.from(
      { length: Math.min(60, input.length >> 2) },
      (_, at): Field => ({ at, size: 4, littleEndian: false }),
    ),
  async read(input, random) {
    const lines: string[] = []
    const cutter: PacketCutter = new PacketCutter((bytes) => {
      try {
        lines.push(readFields(bytes))
      } catch (error) {
        if (!(error instanceof MalformedPacket)) throw error
        lines.push(error.message)
      }
      cutter.giveBack(bytes)
    })
    try {
      // What the socket gives is not used again.
      for await (const chunk of inChunks(input, () => 1 + below(5000, random)))
        cutter.push(Buffer.from(chunk))
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error
      throw new LibraryError('invalid', error.message)
    }
    return Buffer.from(lines.join('\n'))
  },
}

function tarEntry(name: string, type: string, bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(512)
  header.write(name.slice(0, 100), 0, 'latin1')
  header.write(`${bytes.length.toString(8).padStart(11, '0')} `, 124, 'latin1')
  header.write(`${type}ustar\0`, 156, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  return Buffer.concat([mendTar(header), bytes, Buffer.alloc(-bytes.length & 511)])
}

/** Makes the checksums right of all blocks that look like headers. */
function mendTar(input: Uint8Array): Uint8Array {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.length)
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue
    bytes.fill(0x20, at + 148, at + 156)
    const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0`, at + 148, 'latin1')
  }
  return input
}

const record = (line: string) => Buffer.from(`${line.length + 3} ${line}\n`)

function makeTar(random: Random): Buffer {
  const makers = [
    () => tarEntry('folder/file', '0', texty(below(2000, random), 1)),
    () => tarEntry('folder/', '5', Buffer.alloc(0)),
    () =>
      tarEntry('x', 'x', Buffer.concat([record('path=a longer name'), record(`size=${below(700, random)}`)])),
    () => tarEntry('g', 'g', record('comment=all')),
    () => tarEntry('L', 'L', Buffer.from(`${'n'.repeat(below(300, random))}\0`)),
    () => tarEntry('s', 'x', record('GNU.sparse.major=1')),
  ]
  const entries = Array.from({ length: 1 + below(5, random) }, () => pick(makers, random)())
  return Buffer.concat([...entries, Buffer.alloc(1024)])
}

export const tarTarget: Target = {
  name: 'tar',
  seeds: () => [0.05, 0.2, 0.4, 0.6, 0.7, 0.95].map((share) => makeTar(() => share)),
  make: makeTar,
  fields: () => [124, 136, 156, 257, 345].map((at) => ({ at, size: 8, littleEndian: false })),
  mend: mendTar,
  async read(input, random) {
    const size = pick([3, 700, 100_000], random)
    const feed = new ByteFeed(
      inChunks(input, () => 1 + below(input.length > 50_000 ? 100_000 : size, random)),
    )
    const lines: string[] = []
    try {
      for await (const entry of readTar(feed)) {
        let length = 0
        for await (const chunk of entry.bytes()) length += chunk.length
        lines.push(`${Buffer.from(entry.name).toString('hex')} ${entry.isFile} ${entry.size} ${length}`)
      }
    } catch (error) {
      if (!(error instanceof TarProblem)) throw error
      throw new LibraryError('invalid', error.message)
    }
    return Buffer.from(lines.join('\n'))
  },
}
