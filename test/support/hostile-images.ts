import { deflateRawSync, gzipSync } from 'node:zlib'
import type { RefusalCategory } from '#base/refusal.ts'
import {
  diskBytes,
  gzipMember,
  le32,
  lz4Frame,
  lz4Stored,
  lzma2Stored,
  xzStream,
  zstdFrame,
} from './compressed-streams.ts'
import { COPIED, type HeaderFields, Qcow2Writer } from './qcow2-writer.ts'

/** What disks may have where these are registered, bytes. */
export const HOSTILE_SIZE_LIMIT = 8 * 1024 * 1024
const K64 = 65_536
const START = diskBytes(K64, 7)
const GZIP_HEADER = Buffer.from('1f8b0800000000000003', 'hex')

/** A legal qcow2 file whose one cluster of data ends it. */
function qcow2(fields: Partial<HeaderFields> = {}): Uint8Array {
  const writer = new Qcow2Writer({ size: 4 * K64 }).tablesFirst()
  writer.data(0, START)
  return writer.set(fields).build()
}

function qcow2WithTableOnTable(): Uint8Array {
  const writer = new Qcow2Writer({ size: 4 * K64 })
  writer.l1Entry(0, BigInt(writer.l1At()))
  return writer.build()
}

function qcow2WithReservedBit(): Uint8Array {
  const writer = new Qcow2Writer({ size: 4 * K64 })
  writer.entry(0, BigInt(writer.allocate()) | COPIED | 2n)
  return writer.build()
}

function qcow2WithCutCluster(): Uint8Array {
  const writer = new Qcow2Writer({ size: K64 }).tablesFirst()
  writer.pack(0, deflateRawSync(START, { windowBits: 12 }))
  return writer.unpadded().build().slice(0, -200)
}

/** Files that are refused, each with the code that it earns; every code which bytes can earn is there. */
export const HOSTILE: ReadonlyArray<readonly [name: string, code: RefusalCategory, make: () => Uint8Array]> =
  [
    ['nothing', 'empty', () => new Uint8Array(0)],
    ['backing file', 'backing-file', () => qcow2({ backingOffset: 1024n, backingSize: 11 })],
    ['external data', 'external-data', () => qcow2({ incompatible: 4n })],
    ['encrypted', 'encrypted', () => qcow2({ cryptMethod: 1 })],
    ['marked corrupt', 'marked-corrupt', () => qcow2({ incompatible: 2n })],
    ['unknown feature', 'unknown-feature', () => qcow2({ incompatible: 1n << 32n })],
    ['disk above the limit', 'too-large', () => qcow2({ size: 1n << 40n })],
    ['truncated qcow2', 'truncated', () => qcow2().slice(0, -1)],
    ['truncated gzip', 'truncated', () => gzipSync(START).subarray(0, -9)],
    ['overlap', 'overlap', qcow2WithTableOnTable],
    ['cut cluster', 'bad-cluster', qcow2WithCutCluster],
    ['web page', 'not-an-image', () => Buffer.from(`<!DOCTYPE html><html>${'<p>404</p>'.repeat(99)}</html>`)],
    ['qcow', 'unsupported-version', () => qcow2({ version: 1 })],
    ['cluster of 4 MiB', 'bad-header', () => qcow2({ clusterBits: 22 })],
    ['size of no sectors', 'bad-size', () => qcow2({ size: 1000n })],
    ['compression type 2', 'unsupported-compression', () => qcow2({ incompatible: 8n, compressionType: 2 })],
    ['no L1 entry', 'bad-table', () => qcow2({ l1Size: 0 })],
    ['reserved bit', 'bad-entry', qcow2WithReservedBit],
    [
      'VMDK and tar',
      'polyglot',
      () => Buffer.concat([Buffer.from('KDMV'), START.subarray(4, 257), Buffer.from('ustar'), START]),
    ],
    ['gzip of no deflate', 'bad-stream', () => Buffer.concat([GZIP_HEADER, Buffer.alloc(1000, 0xff)])],
    ['gzip length', 'size-mismatch', () => gzipMember({ plain: START, length: START.length + 1 })],
    ['gzip method', 'unsupported-stream', () => gzipMember({ plain: START, method: 7 })],
    ['VMDK', 'unsupported-format', () => Buffer.concat([Buffer.from('KDMV'), START])],
    ['nested gzip', 'nested', () => gzipSync(gzipSync(START))],
    ['gzip bomb', 'too-large', () => gzipSync(Buffer.alloc(16 * HOSTILE_SIZE_LIMIT))],
    [
      'xz checksum',
      'checksum',
      () => xzStream({ blocks: [{ data: lzma2Stored(START), plain: START }], checkBytes: le32(1) }),
    ],
    [
      'lz4 trailing garbage',
      'trailing-garbage',
      () => Buffer.concat([lz4Frame({ blocks: [lz4Stored(START)] }), Buffer.alloc(100, 0xa5)]),
    ],
    // The window byte's upper five bits are the power of two above 1 KiB: 256 MiB. See RFC 8878, section 3.1.1.1.2.
    [
      'zstd window',
      'memory-limit',
      () => zstdFrame({ window: 18 << 3, blocks: [[0, 4096, START.subarray(0, 4096)]] }),
    ],
  ]
