import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { LibraryError } from '#base/errors.ts'
import {
  BLOCK_SIZE,
  blockCount,
  decodeStored,
  decodeUnknown,
  encodeBlock,
  maxStoredSize,
  storedSizeOf,
  storedZeroBlock,
  verifyStored,
} from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE, createCodecMemory, FIRST_ADDRESS, openCodec } from '#data/codec/codec.ts'
import { fileOf, noise, texty } from '#data/format/qcow2/qcow2.fixtures.ts'
import {
  ENTRY_SIZE,
  HEADER_SIZE,
  PAGE_BLOCKS,
  pageBlocks,
  pageCount,
  readHeader,
  rootSize,
  TABLE_ENTRY_SIZE,
  writeHeader,
  writeU64,
  zeroStoredSize,
} from '#data/manifest/layout.ts'
import { openManifest } from '#data/manifest/manifest.ts'
import { writeEntry } from '#data/manifest/page.ts'
import { memoryStore } from '#data/store/memory.ts'
import type { ManifestStore } from '#data/store/store.ts'
import { le32, lz4Frame, xxh32 } from '../support/compressed-streams.ts'
import { createRandom } from '../support/random-disk.ts'
import { below } from './mutation.ts'
import { compareWith } from './other-programs.ts'
import type { Case, Field, Random, Target } from './target.ts'

// ---------------------------------------------------------------- blocks at rest

/** A block of a disk that is not known: its plain length, then its bytes at rest. */
function storedBlock(plain: Uint8Array): Uint8Array {
  const [source, target] = [
    FIRST_ADDRESS + COMPRESS_TABLE_SIZE,
    FIRST_ADDRESS + COMPRESS_TABLE_SIZE + BLOCK_SIZE,
  ]
  const codec = openCodec(createCodecMemory(target + maxStoredSize(BLOCK_SIZE)))
  codec.bytes.set(plain, source)
  const length = encodeBlock(codec, { source, length: plain.length, target, table: FIRST_ADDRESS })
  return Buffer.concat([le32(plain.length), codec.bytes.subarray(target, target + length)])
}

function mendBlock(input: Uint8Array): Uint8Array {
  if (input.length < 13) return input
  const size = input.length - 12
  const view = new DataView(input.buffer, input.byteOffset, input.length)
  view.setUint32(4, size | (view.getUint32(4, true) & 0x80000000), true)
  view.setUint32(input.length - 4, xxh32(input.subarray(8, -4)), true)
  return input
}

/** The block as the only one of an LZ4 frame, which other programs read. */
function asFrame({ input, verdict }: Case): Case {
  const view = new DataView(input.buffer, input.byteOffset, input.length)
  const block = { word: view.getUint32(4, true), body: input.subarray(8, -4) }
  return { input: lz4Frame({ blockCode: 0x60, blocks: [block] }), verdict }
}

export const blockTarget: Target = {
  name: 'block',
  seeds: () => [
    storedBlock(texty(5000, 1)),
    storedBlock(noise(900, 2)),
    storedBlock(Buffer.concat([new Uint8Array(70_000), texty(300, 3), noise(3000, 4)])),
    storedBlock(Buffer.from([1])),
    Buffer.concat([le32(BLOCK_SIZE), storedZeroBlock(BLOCK_SIZE)]),
  ],
  fields: () => [0, 4].map((at) => ({ at, size: 4, littleEndian: true })),
  mend: mendBlock,
  async read(input) {
    if (input.length < 8) throw new LibraryError('corrupt', 'too short for a test')
    const length = new DataView(input.buffer, input.byteOffset, input.length).getUint32(0, true)
    const stored = input.subarray(4)
    verifyStored(stored, length)
    const plain = decodeStored(stored, length)
    assert.equal(storedSizeOf(stored), stored.length, 'its head says how long it is')
    assert.ok(
      Buffer.compare(plain, decodeUnknown(stored)) === 0,
      'a length that is not known changes nothing',
    )
    return plain
  },
  async compare(cases, folder) {
    const accepted = cases.filter(({ verdict }) => verdict.kind === 'accepted')
    compareWith(
      { program: 'lz4', line: 'lz4 -dc < $f > $f.out', stricter: () => true },
      accepted.map(asFrame),
      folder,
    )
  },
}

// ---------------------------------------------------------------- manifests

/** What a table says of each page. */
interface PageSums {
  readonly digest: Uint8Array
  readonly dataBlocks: number
  readonly storedBytes: number
}

function makeManifest(random: Random): Uint8Array {
  const diskSize = Math.max(1, Math.floor(random() ** 2 * 1500 * BLOCK_SIZE))
  const blocks = blockCount(diskSize)
  const pages: Buffer[] = []
  const sums = Array.from({ length: pageCount(blocks) }, (_, page): PageSums => {
    const [first, count] = [page * PAGE_BLOCKS, pageBlocks(blocks, page)]
    const bytes = Buffer.alloc(count * ENTRY_SIZE)
    let [dataBlocks, storedBytes] = [0, zeroStoredSize(diskSize, first, count)]
    for (let place = 0; place < count - 1 && dataBlocks < 20; place += 1 + below(100, random)) {
      const storedLength = 9 + below(1000, random)
      writeEntry(bytes, place, { digest: hash('sha256', `${first + place}`, 'hex'), storedLength })
      dataBlocks++
      storedBytes += storedLength - zeroStoredSize(diskSize, first + place, 1)
    }
    if (dataBlocks > 0) pages.push(bytes)
    return {
      digest: dataBlocks > 0 ? hash('sha256', bytes, 'buffer') : Buffer.alloc(32),
      dataBlocks,
      storedBytes,
    }
  })
  const root = Buffer.alloc(rootSize(blocks))
  let [dataBlocks, storedSize] = [0, 0]
  sums.forEach((page, index) => {
    const at = HEADER_SIZE + index * TABLE_ENTRY_SIZE
    root.set(page.digest, at)
    writeU64(root, at + 32, dataBlocks)
    writeU64(root, at + 40, storedSize)
    dataBlocks += page.dataBlocks
    storedSize += page.storedBytes
  })
  writeHeader(root, { diskSize, blockCount: blocks, dataBlocks, storedSize })
  return Buffer.concat([root, ...pages])
}

function sizesOf(input: Uint8Array): { blocks: number; root: number } | undefined {
  try {
    const { blockCount: blocks } = readHeader(input.subarray(0, HEADER_SIZE))
    const root = rootSize(blocks)
    return root <= input.length ? { blocks, root } : undefined
  } catch {
    return undefined
  }
}

function manifestFields(input: Uint8Array): Field[] {
  const field = (at: number, size: number): Field => ({ at, size, littleEndian: true })
  const fields = [
    field(8, 4),
    field(16, 8),
    field(24, 8),
    field(32, 8),
    field(40, 8),
    field(52, 4),
    field(56, 8),
  ]
  const sizes = sizesOf(input)
  const tables = sizes ? Array.from({ length: Math.min(3, pageCount(sizes.blocks)) }, (_, page) => page) : []
  for (const page of tables) {
    const at = HEADER_SIZE + page * TABLE_ENTRY_SIZE
    fields.push(field(at + 32, 8), field(at + 40, 8))
  }
  for (let at = (sizes?.root ?? input.length) + 32; at < input.length; at += ENTRY_SIZE) {
    if (input[at] !== 0 && fields.length < 60) fields.push(field(at, 4))
  }
  return fields.filter(({ at, size }) => at + size <= input.length)
}

/** Names the pages anew in the root's table. */
function mendManifest(input: Uint8Array): Uint8Array {
  const sizes = sizesOf(input)
  if (!sizes) return input
  let at = sizes.root
  for (let page = 0; page < pageCount(sizes.blocks); page++) {
    const entry = HEADER_SIZE + page * TABLE_ENTRY_SIZE
    if (input.subarray(entry, entry + 32).every((byte) => byte === 0)) continue
    const end = at + pageBlocks(sizes.blocks, page) * ENTRY_SIZE
    input.set(hash('sha256', input.subarray(at, end), 'buffer'), entry)
    at = end
  }
  return input
}

function storeOf(input: Uint8Array): ManifestStore {
  const file = { ...fileOf(input), [Symbol.asyncDispose]: async () => {} }
  return { ...memoryStore().manifests, open: async () => file }
}

export const manifestTarget: Target = {
  name: 'manifest',
  seeds: () => Array.from({ length: 8 }, (_, seed) => makeManifest(createRandom(seed))),
  make: makeManifest,
  fields: manifestFields,
  mend: mendManifest,
  async read(input) {
    const root = input.subarray(0, sizesOf(input)?.root ?? 0)
    await using manifest = await openManifest(storeOf(input), hash('sha256', root, 'hex'), { cachedPages: 2 })
    const lines: string[] = []
    let rank = 0
    for await (const { index, digest, storedLength } of manifest.entries()) {
      lines.push(`${index} ${digest} ${storedLength}`)
      assert.equal((await manifest.findData(rank++)).index, index, 'the entry of that rank')
    }
    assert.equal(rank, manifest.dataBlocks, 'as many entries as the header says')
    for (const share of [0, 0.37, 0.999]) {
      const offset = Math.floor(manifest.storedSize * share)
      const found = await manifest.findStored(offset)
      assert.ok(
        found.storedOffset <= offset && offset < found.storedOffset + found.storedLength,
        'the block there',
      )
    }
    return Buffer.from(lines.join('\n'))
  },
}
