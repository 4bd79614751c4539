import type { ByteFeed } from '#base/byte-feed.ts'

const BLOCK = 512
/** Bytes of a header that is longer than a block: names, attributes. */
const EXTENSION_MAX = 64 * 1024

/** An archive that is none, or has what we do not read. */
export class TarProblem extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'TarProblem'
  }
}

export interface TarEntry {
  /** As it is there: not necessarily UTF-8, and no path to anything. */
  readonly name: Uint8Array
  /** False for folders, links and devices. */
  readonly isFile: boolean
  readonly size: number
  /** The bytes, in chunks that are valid until the next one is asked for; may be left unread. */
  readonly bytes: () => AsyncGenerator<Uint8Array>
}

/**
 * Reads a tar archive (POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header") as it comes, also with
 * the long names of GNU tar. What follows its end is left unread.
 * @throws TarProblem
 */
export async function* readTar(feed: ByteFeed): AsyncGenerator<TarEntry> {
  let next: Attributes = {}
  for (;;) {
    const header = await readHeader(feed)
    if (!header) return
    if (EXTENSIONS.has(header.type)) {
      next = { ...next, ...(await readExtension(feed, header)) }
      continue
    }
    if (header.type === 'S' || next.isSparse) throw new TarProblem('sparse files are not supported')
    const size = next.size ?? header.size
    let left = size
    const take = (count: number) => {
      feed.advance(count)
      left -= count
    }
    yield {
      name: next.name ?? header.name,
      isFile: FILES.has(header.type),
      size,
      async *bytes() {
        while (left > 0) {
          await demand(feed, 1)
          const chunk = feed.view(left)
          yield chunk
          take(chunk.length)
        }
      },
    }
    if (!(await feed.skip(left + paddingOf(size)))) throw TRUNCATED
    next = {}
  }
}

const TRUNCATED = new TarProblem('unexpected end of data')
const FILES = new Set(['0', '\0', '7'])
/** Attributes of the next entry, of all entries, and GNU's long names and link targets. */
const EXTENSIONS = new Set(['x', 'g', 'L', 'K'])

const paddingOf = (size: number) => (BLOCK - (size % BLOCK)) % BLOCK

async function demand(feed: ByteFeed, length: number): Promise<void> {
  if (!(await feed.fill(length))) throw TRUNCATED
}

interface Header {
  readonly name: Uint8Array
  readonly type: string
  readonly size: number
}

/** @returns undefined at the end of the archive */
async function readHeader(feed: ByteFeed): Promise<Header | undefined> {
  if (!(await feed.fill(1))) return undefined
  await demand(feed, BLOCK)
  const block = Buffer.from(feed.view(BLOCK))
  feed.advance(BLOCK)
  if (block.every((byte) => byte === 0)) return undefined
  const sum = readNumber(block.subarray(148, 156))
  let actual = 8 * 0x20
  for (const [at, byte] of block.entries()) if (at < 148 || at >= 156) actual += byte
  if (sum !== actual) throw new TarProblem('bad checksum')
  const size = readNumber(block.subarray(124, 136))
  const name = textOf(block.subarray(0, 100))
  const isPosix = block.subarray(257, 263).equals(Buffer.from('ustar\0'))
  const prefix = isPosix ? textOf(block.subarray(345, 500)) : Buffer.alloc(0)
  return {
    name: prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name,
    type: String.fromCharCode(block[156] ?? 0),
    size,
  }
}

/** Up to the first NUL. */
function textOf(field: Buffer): Buffer {
  const end = field.indexOf(0)
  return end < 0 ? field : field.subarray(0, end)
}

/** Octal digits, or GNU's binary form for what is too much for them. */
function readNumber(field: Buffer): number {
  let value = Number.NaN
  if (field[0] === 0x80) value = Number(`0x${field.subarray(1).toString('hex')}`)
  else {
    const digits = textOf(field).toString('latin1').trim()
    if (/^[0-7]*$/.test(digits)) value = Number(`0o${digits || '0'}`)
  }
  if (!Number.isSafeInteger(value)) throw new TarProblem('invalid header')
  return value
}

/** What a header before an entry says of it. */
interface Attributes {
  readonly name?: Uint8Array
  readonly size?: number
  readonly isSparse?: boolean
}

async function readExtension(feed: ByteFeed, { type, size }: Header): Promise<Attributes> {
  if (size > EXTENSION_MAX) throw new TarProblem(`a header has more than ${EXTENSION_MAX} bytes`)
  const bytes = Buffer.alloc(size)
  if ((await feed.readInto(bytes)) < size || !(await feed.skip(paddingOf(size)))) throw TRUNCATED
  if (type === 'L') return { name: textOf(bytes) }
  return type === 'x' ? readRecords(bytes) : {}
}

/** Records `25 path=some/name\n`, each beginning with its own length. */
function readRecords(bytes: Buffer): Attributes {
  let attributes: Attributes = {}
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at)
    const length = space > at ? Number(bytes.toString('latin1', at, space)) : Number.NaN
    const end = at + length
    const equals = bytes.indexOf(0x3d, space)
    const isWhole = Number.isSafeInteger(length) && end <= bytes.length && bytes[end - 1] === 0x0a
    if (!isWhole || equals < 0 || equals >= end) throw new TarProblem('invalid header')
    const value = bytes.subarray(equals + 1, end - 1)
    attributes = { ...attributes, ...readRecord(bytes.toString('latin1', space + 1, equals), value) }
    at = end
  }
  return attributes
}

function readRecord(keyword: string, value: Buffer): Attributes {
  if (keyword === 'path') return { name: value }
  if (keyword.startsWith('GNU.sparse.')) return { isSparse: true }
  if (keyword !== 'size') return {}
  const size = /^\d+$/.test(value.toString('latin1')) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(size)) throw new TarProblem('invalid header')
  return { size }
}
