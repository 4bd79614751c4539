import { constants, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { KiB, MiB } from '#base/bytes.ts'
import { boundOutput } from '#data/format/decode-options.ts'
import { decodeGzip } from '#data/format/gzip/decode.ts'
import { decodeLz4 } from '#data/format/lz4/decode.ts'
import { decodeXz, decodeXzItems } from '#data/format/xz/decode.ts'
import { splitXz } from '#data/format/xz/split.ts'
import { decodeZstd } from '#data/format/zstd/decode.ts'
import {
  type Decode,
  diskBytes,
  gzipMember,
  inChunks,
  LZ4_LEGACY,
  le32,
  lz4Frame,
  lz4Literals,
  lz4Run,
  lz4Stored,
  lzma2Stored,
  skippable,
  xxh32,
  xzStream,
  zstdFrame,
} from '../support/compressed-streams.ts'
import { below, pick } from './mutation.ts'
import { compareWith, type OtherProgram } from './other-programs.ts'
import {
  gzipFields,
  hasMatchAtZero,
  hasOnlyBlockChecksums,
  hasPackedBlocks,
  lz4Fields,
  mendGzip,
  mendLz4,
  mendXz,
  mendZstd,
  xzFields,
  zstdFields,
} from './stream-structure.ts'
import type { Case, Random, Target } from './target.ts'

/** Small, so that bombs end soon. */
const LIMITS = { limit: 4 * MiB, xzDictionary: 4 * MiB, zstdWindow: 8 * MiB }

/** Reads a stream in pieces of random sizes; pieces of one kind each time. */
function readerOf(decode: Decode): Target['read'] {
  return async (input, random) => {
    const most = pick([1 * MiB, 64 * KiB, 5000, 64, 7], random)
    const size = input.length / most > 5000 ? 64 * KiB : most
    const parts: Buffer[] = []
    for await (const part of decode(
      inChunks(input, () => 1 + below(size, random)),
      LIMITS,
    )) {
      parts.push(Buffer.from(part))
    }
    return Buffer.concat(parts)
  }
}

/** Plain bytes of many kinds. */
function plain(random: Random): Buffer {
  const length = Math.floor(random() ** 3 * 5000)
  return pick(
    [() => Buffer.alloc(length, below(256, random)), () => diskBytes(length, below(1000, random))],
    random,
  )()
}

function some<T>(most: number, random: Random, make: () => T): T[] {
  return Array.from({ length: 1 + Math.floor(random() ** 2 * most) }, make)
}

const zeros = Buffer.alloc(3000)
const text = Buffer.from('abracadabra, said the wizard; abracadabra, said the hat. '.repeat(40))
const disk = diskBytes(9000, 7)

function compare(other: OtherProgram): NonNullable<Target['compare']> {
  return async (cases: readonly Case[], folder: string) => compareWith(other, cases, folder)
}

const oneOf =
  (...categories: readonly string[]) =>
  (verdict: { category: string }) =>
    categories.includes(verdict.category)

function makeLz4(random: Random): Buffer {
  const frames = some(3, random, () => {
    const parts = some(4, random, () => plain(random))
    if (random() < 0.1) return skippable(plain(random), below(16, random))
    if (random() < 0.15) {
      return Buffer.concat([
        LZ4_LEGACY,
        ...parts.flatMap((part) => [le32(lz4Literals(part).length), lz4Literals(part)]),
      ])
    }
    const blocks = parts.map((part) =>
      pick(
        [() => lz4Stored(part), () => lz4Literals(part), () => lz4Run(32 + below(70_000, random), 7)],
        random,
      )(),
    )
    return lz4Frame({
      flags: random() < 0.5 ? 0x40 : 0x60,
      blockCode: pick([0x40, 0x50, 0x60, 0x70], random),
      blocks,
      ...(random() < 0.3 ? { blockChecksumOff: 0 } : {}),
      ...(random() < 0.1 ? { size: BigInt(below(9000, random)) } : {}),
      ...(random() < 0.05 ? { dictionary: 1 } : {}),
      end: random() > 0.02,
    })
  })
  return Buffer.concat(frames)
}

const isLz4Rule = oneOf(
  'unsupported-stream',
  'too-large',
  'empty',
  'truncated',
  'trailing-garbage',
  'size-mismatch',
)

export const lz4Target: Target = {
  name: 'lz4',
  seeds: () => [
    lz4Frame({ blocks: [lz4Literals(text)] }),
    lz4Frame({
      blocks: [lz4Run(60_000), lz4Stored(disk)],
      contentChecksum: xxh32(Buffer.concat([Buffer.alloc(60_000), disk])),
    }),
    lz4Frame({
      flags: 0x40,
      blockCode: 0x70,
      blocks: [lz4Stored(text), lz4Run(3000, 3)],
      blockChecksumOff: 0,
    }),
    Buffer.concat([skippable(zeros), lz4Frame({ blocks: [lz4Stored(text)], size: BigInt(text.length) })]),
    Buffer.concat([LZ4_LEGACY, le32(lz4Literals(text).length), lz4Literals(text)]),
    lz4Frame({ blocks: [] }),
  ],
  make: makeLz4,
  fields: lz4Fields,
  mend: mendLz4,
  read: readerOf(decodeLz4),
  compare: compare({
    program: 'lz4',
    line: 'lz4 -dc < $f > $f.out',
    // lz4 1.9.4 decodes a match at offset 0.
    stricter: (verdict, input) => isLz4Rule(verdict) || hasMatchAtZero(input),
    // It takes a few bytes too many behind such a frame, and then knows no more.
    wrong: (_says, input) => hasOnlyBlockChecksums(input),
  }),
}

function makeXz(random: Random): Buffer {
  const streams = some(2, random, () => {
    const parts = some(3, random, () => plain(random)).filter((part) => part.length > 0)
    return xzStream({
      check: pick([0, 0, 1, 4, 10], random),
      blocks: parts.map((part) => ({ plain: part, data: lzma2Stored(part) })),
      dictionaryCode: below(random() < 0.9 ? 23 : 41, random),
      ...(random() < 0.5 ? { compressedSize: true as const } : {}),
      ...(random() < 0.5 ? { uncompressedSize: true as const } : {}),
      ...(random() < 0.03 ? { filters: [[3, [1]] as const, [0x21, [16]] as const] } : {}),
      ...(random() < 0.03 ? { wrongCrc: pick(['header', 'block', 'index', 'footer'] as const, random) } : {}),
    })
  })
  return Buffer.concat(
    streams.flatMap((stream) => [stream, Buffer.alloc(random() < 0.2 ? 4 * below(5, random) : 0)]),
  )
}

/** As an import does it: blocks that say how long they are come whole, for others to decode. */
const decodeSplitXz: Decode = (input, options) =>
  boundOutput(decodeXzItems(splitXz(input, options), options), options)

const stored = (bytes: Uint8Array) => ({ plain: bytes, data: lzma2Stored(bytes) })

export const xzTarget: Target = {
  name: 'xz',
  seeds: () => [
    ...[0, 1, 4, 10].map((check) => xzStream({ check, blocks: [stored(text), stored(disk)] })),
    xzStream({ check: 0, blocks: [stored(zeros)], compressedSize: true, uncompressedSize: true }),
    xzStream({ blocks: [] }),
  ],
  make: makeXz,
  fields: xzFields,
  mend: mendXz,
  read: (input, random) => readerOf(random() < 0.5 ? decodeXz : decodeSplitXz)(input, random),
  compare: compare({
    program: 'xz',
    line: 'xz -dc < $f > $f.out',
    stricter: oneOf('unsupported-stream', 'memory-limit', 'too-large', 'empty'),
  }),
}

export const gzipTarget: Target = {
  name: 'gzip',
  seeds: () => [
    gzipSync(text),
    gzipSync(disk, { level: 9 }),
    gzipMember({ plain: text, flags: 0x08, fields: Buffer.from('name\0') }),
    gzipMember({
      plain: zeros,
      flags: 0x1c,
      fields: Buffer.from('\x03\0abcname\0comment\0'),
      headerChecksumOff: 0,
    }),
    Buffer.concat([gzipSync(text), gzipSync(zeros), Buffer.alloc(512)]),
    gzipSync(zeros, { strategy: constants.Z_HUFFMAN_ONLY }),
    gzipSync(disk, { strategy: constants.Z_FIXED }),
    gzipSync(disk, { level: 0 }),
  ],
  make: (random) =>
    Buffer.concat([
      ...some(4, random, () =>
        gzipMember({ plain: plain(random), ...(random() < 0.2 ? { headerChecksumOff: 0 } : {}) }),
      ),
      Buffer.alloc(random() < 0.3 ? below(600, random) : 0),
    ]),
  fields: gzipFields,
  mend: mendGzip,
  read: readerOf(decodeGzip),
  compare: compare({
    program: 'gzip',
    line: 'gzip -dc < $f > $f.out',
    stricter: oneOf('too-large', 'empty', 'bad-stream', 'unsupported-stream'),
  }),
}

function makeZstd(random: Random): Buffer {
  const frames = some(3, random, () => {
    if (random() < 0.1) return skippable(plain(random), below(16, random))
    if (random() < 0.4) return zstdCompressSync(plain(random))
    const blocks = some(4, random, () => {
      const part = plain(random)
      return random() < 0.5
        ? ([0, part.length, part] as const)
        : ([1, below(random() < 0.2 ? 1 << 18 : 9000, random), part.subarray(0, 1)] as const)
    })
    return zstdFrame({ window: below(random() < 0.9 ? 0x60 : 256, random), blocks })
  })
  return Buffer.concat(frames)
}

export const zstdTarget: Target = {
  name: 'zstd',
  seeds: () => [
    zstdCompressSync(text),
    zstdCompressSync(disk, { params: { [constants.ZSTD_c_compressionLevel]: 19 } }),
    zstdCompressSync(text, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
    zstdCompressSync(text, { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } }),
    zstdFrame({
      blocks: [
        [0, text.length, text],
        [1, 5000, Buffer.from('x')],
        [0, 0, Buffer.alloc(0)],
      ],
    }),
    Buffer.concat([skippable(zeros), zstdCompressSync(zeros), zstdCompressSync(deflateRawSync(disk))]),
  ],
  make: makeZstd,
  fields: zstdFields,
  mend: mendZstd,
  read: readerOf(decodeZstd),
  compare: compare({
    program: 'zstd',
    line: 'zstd -dc < $f > $f.out',
    // Newer ones of zstd's own library, as Node has it, refuse damage that older ones took for data.
    stricter: oneOf(
      'memory-limit',
      'too-large',
      'empty',
      'unsupported-stream',
      'size-mismatch',
      'bad-stream',
    ),
    // What they take for data, they decode differently from version to version, where no checksum follows.
    vague: hasPackedBlocks,
  }),
}
