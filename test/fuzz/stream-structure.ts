/** Finds the numbers in compressed streams and makes their checksums right, as far as a changed one is understood. */
import { crc32, inflateRawSync } from 'node:zlib'
import { xxh32, xzInteger } from '../support/compressed-streams.ts'
import type { Field } from './target.ts'

const field = (at: number, size: number): Field => ({ at, size, littleEndian: true })

const MOST_FIELDS = 200

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

// ---------------------------------------------------------------- lz4

interface Lz4Part extends Field {
  /** Covers the bytes from here to the field. */
  readonly checksumFrom?: number
  /** Says how long the compressed block behind it is, bytes. */
  readonly blockLength?: number
}

/** The numbers of all frames, in order, up to where they make no sense. */
function* lz4Parts(input: Uint8Array): Generator<Lz4Part> {
  const view = viewOf(input)
  for (let at = 0; at + 8 <= input.length; ) {
    const magic = view.getUint32(at, true)
    yield field(at, 4)
    if (magic >>> 4 === 0x184d2a5) {
      yield field(at + 4, 4)
      at += 8 + view.getUint32(at + 4, true)
    } else if (magic === 0x184c2102) {
      at += 4
      while (at + 4 <= input.length && view.getUint32(at, true) <= 1 << 24) {
        const blockLength = view.getUint32(at, true)
        yield { ...field(at, 4), blockLength }
        at += 4 + blockLength
      }
    } else if (magic === 0x184d2204) {
      const flags = input[at + 4] ?? 0
      yield field(at + 4, 1)
      yield field(at + 5, 1)
      const hasSize = (flags & 8) !== 0
      if (hasSize) yield field(at + 6, 8)
      const sumAt = at + 6 + (hasSize ? 8 : 0) + (flags & 1 ? 4 : 0)
      yield { ...field(sumAt, 1), checksumFrom: at + 4 }
      at = sumAt + 1
      while (at + 4 <= input.length) {
        const word = view.getUint32(at, true)
        yield { ...field(at, 4), blockLength: word >>> 31 ? 0 : word }
        const body = at + 4
        at = body + (word & 0x7fffffff)
        if (word === 0) break
        if ((flags & 16) === 0) continue
        yield { ...field(at, 4), checksumFrom: body }
        at += 4
      }
      if (flags & 4) at += 4
    } else {
      return
    }
  }
}

const inside = (input: Uint8Array) => (part: Field) => part.at + part.size <= input.length

export function lz4Fields(input: Uint8Array): Field[] {
  return lz4Parts(input).filter(inside(input)).take(MOST_FIELDS).toArray()
}

/** Whether there is a frame with checksums of blocks and none of its content. */
export function hasOnlyBlockChecksums(input: Uint8Array): boolean {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.length)
  const magic = Buffer.from('04224d18', 'hex')
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    if (((bytes[at + 4] ?? 0) & 0x14) === 0x10) return true
  }
  return false
}

/** Whether a block has a match at offset 0, which no writer makes: the specification calls such a block corrupted. */
export const hasMatchAtZero = (input: Uint8Array): boolean =>
  lz4Parts(input).some(({ at, blockLength = 0 }) =>
    repeatsItself(input.subarray(at + 4, at + 4 + blockLength)),
  )

function repeatsItself(block: Uint8Array): boolean {
  let at = 0
  const longer = (nibble: number) => {
    let length = nibble
    for (let byte = nibble === 15 ? 255 : 0; byte === 255; length += byte) byte = block[at++] ?? 0
    return length
  }
  while (at < block.length) {
    const token = block[at++] ?? 0
    at += longer(token >>> 4)
    if (at + 2 > block.length) return false
    if (block[at] === 0 && block[at + 1] === 0) return true
    at += 2
    longer(token & 15)
  }
  return false
}

export function mendLz4(input: Uint8Array): Uint8Array {
  for (const { at, size, checksumFrom } of lz4Parts(input).filter(inside(input)).take(MOST_FIELDS)) {
    if (checksumFrom === undefined) continue
    const sum = xxh32(input.subarray(checksumFrom, at))
    if (size === 1) input[at] = (sum >>> 8) & 255
    else viewOf(input).setUint32(at, sum, true)
  }
  return input
}

// ---------------------------------------------------------------- xz

interface XzBlockPlace {
  readonly at: number
  readonly headerSize: number
  /** LZMA2 chunk headers. */
  readonly chunks: readonly number[]
  readonly dataEnd: number
  readonly end: number
  readonly plainSize: number
}

const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]

/** The blocks of the first stream; undefined where its chunks lead out of the input. */
function xzBlocks(input: Uint8Array): XzBlockPlace[] | undefined {
  const blocks: XzBlockPlace[] = []
  const checkSize = CHECK_SIZES[(input[7] ?? 0) & 15] ?? 0
  let at = 12
  while (input[at] !== 0) {
    const headerSize = ((input[at] ?? 0) + 1) * 4
    const chunks: number[] = []
    let next = at + headerSize
    let plainSize = 0
    for (; input[next] !== 0; ) {
      const control = input[next]
      if (control === undefined) return undefined
      const low = (input[next + 1] ?? 0) * 256 + (input[next + 2] ?? 0) + 1
      chunks.push(next)
      plainSize += low + (control >= 0x80 ? (control & 31) * 65_536 : 0)
      const packed = (input[next + 3] ?? 0) * 256 + (input[next + 4] ?? 0) + 1
      next += control >= 0x80 ? (control >= 0xc0 ? 6 : 5) + packed : 3 + low
    }
    const dataEnd = next + 1
    const end = Math.ceil(dataEnd / 4) * 4 + checkSize
    blocks.push({ at, headerSize, chunks, dataEnd, end, plainSize })
    at = end
  }
  return at < input.length ? blocks : undefined
}

export function xzFields(input: Uint8Array): Field[] {
  const big = (at: number, size: number): Field => ({ at, size, littleEndian: false })
  const blocks = xzBlocks(input) ?? []
  const ends = [
    field(6, 2),
    field(8, 4),
    field(input.length - 12, 4),
    field(input.length - 8, 4),
    field(input.length - 4, 2),
  ]
  const inner = blocks.flatMap(({ at, chunks, end }) => [
    ...[0, 1, 2, 3, 4, 5].map((offset) => field(at + offset, 1)),
    ...chunks.flatMap((chunk) => [big(chunk, 1), big(chunk + 1, 2), big(chunk + 3, 2), big(chunk + 5, 1)]),
    ...[0, 1, 2, 3, 4].map((offset) => field(end + offset, 1)),
  ])
  return [...ends, ...inner].filter((part) => part.at >= 0 && inside(input)(part)).slice(0, MOST_FIELDS)
}

/** Makes header and block headers of the first stream right, and its index and footer anew; nothing follows it. */
export function mendXz(input: Uint8Array): Uint8Array {
  if (input.length < 24) return input
  const blocks = xzBlocks(input)
  viewOf(input).setUint32(8, crc32(input.subarray(6, 8)), true)
  if (!blocks) return input
  const records = [Buffer.from([0]), xzInteger(blocks.length)]
  for (const { at, headerSize, dataEnd, end, plainSize } of blocks) {
    const sumAt = at + headerSize - 4
    if (sumAt + 4 <= input.length) viewOf(input).setUint32(sumAt, crc32(input.subarray(at, sumAt)), true)
    const padding = Math.ceil(dataEnd / 4) * 4 - dataEnd
    records.push(xzInteger(end - at - padding), xzInteger(plainSize))
  }
  const fields = Buffer.concat(records)
  const index = Buffer.concat([fields, Buffer.alloc(-fields.length & 3)])
  const footer = Buffer.alloc(24)
  footer.writeUInt32LE(crc32(index), 0)
  footer.writeUInt32LE((index.length + 4) / 4 - 1, 8)
  footer.set(input.subarray(6, 8), 12)
  footer.writeUInt32LE(crc32(footer.subarray(8, 14)), 4)
  footer.write('YZ', 14, 'latin1')
  return Buffer.concat([input.subarray(0, blocks.at(-1)?.end ?? 12), index, footer.subarray(0, 16)])
}

// ---------------------------------------------------------------- gzip

export function gzipFields(input: Uint8Array): Field[] {
  const places: readonly (readonly [number, number])[] = [
    [0, 2],
    [2, 1],
    [3, 1],
    [3, 1],
    [10, 2],
    [10, 1],
    [input.length - 8, 4],
    [input.length - 4, 4],
  ]
  return places.map(([at, size]) => field(at, size)).filter((part) => part.at >= 0 && inside(input)(part))
}

/** Makes the trailer of the first member right, where that has no more than a plain header. */
export function mendGzip(input: Uint8Array): Uint8Array {
  if (input[3] !== 0) return input
  try {
    const { buffer, engine } = inflateRawSync(input.subarray(10), {
      info: true,
      maxOutputLength: 1 << 23,
    }) as unknown as { buffer: Uint8Array; engine: { bytesWritten: number } }
    const at = 10 + engine.bytesWritten
    if (at + 8 > input.length) return input
    viewOf(input).setUint32(at, crc32(buffer), true)
    viewOf(input).setUint32(at + 4, buffer.length, true)
  } catch {
    // It is no deflate data any more: nothing to mend.
  }
  return input
}

// ---------------------------------------------------------------- zstd

export function zstdFields(input: Uint8Array): Field[] {
  const view = viewOf(input)
  const found: Field[] = []
  for (let at = 0; at + 8 <= input.length && found.length < MOST_FIELDS; ) {
    found.push(field(at, 4))
    const magic = view.getUint32(at, true)
    if (magic >>> 4 === 0x184d2a5) {
      found.push(field(at + 4, 4))
      at += 8 + view.getUint32(at + 4, true)
    } else if (magic === 0xfd2fb528) {
      const flags = input[at + 4] ?? 0
      const single = (flags & 0x20) !== 0
      found.push(field(at + 4, 1), field(at + 5, 1))
      const size = [single ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0
      const sizeAt = at + 5 + (single ? 0 : 1) + ([0, 1, 2, 4][flags & 3] ?? 0)
      if (size > 0) found.push(field(sizeAt, size))
      at = sizeAt + size
      for (let last = false; !last && at + 3 <= input.length && found.length < MOST_FIELDS; ) {
        const word = view.getUint16(at, true) | ((input[at + 2] ?? 0) << 16)
        last = (word & 1) === 1
        // Its header, and the headers of its literals and sequences.
        found.push(field(at, 3), field(at + 3, 1), field(at + 4, 2), field(at + 3, 4))
        at += 3 + (((word >> 1) & 3) === 1 ? 1 : word >> 3)
      }
      if (flags & 4) at += 4
    } else break
  }
  return found.filter(inside(input))
}

/** Whether there may be a block whose content depends on tables in it, which damage changes into other tables. */
export function hasPackedBlocks(input: Uint8Array): boolean {
  return zstdFields(input).some(({ at, size }) => size === 3 && (((input[at] ?? 0) >> 1) & 3) === 2)
}

/** Takes away the flag of a checksum, which only a decoder could make right. */
export function mendZstd(input: Uint8Array): Uint8Array {
  const flags = input[4]
  if (flags === undefined || (flags & 4) === 0) return input
  input[4] = flags & ~4
  return input.subarray(0, Math.max(0, input.length - 4))
}
