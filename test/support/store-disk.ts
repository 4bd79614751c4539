import { tmpdir } from 'node:os'
import { BLOCK_SIZE, blockCount, blockLength, digestOf, encodeBlock } from '#data/block/block.ts'
import { createRandom, shapedBytes } from '#data/codec/codec.fixtures.ts'
import { COMPRESS_TABLE_SIZE, createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { ManifestWriter } from '#data/manifest/writer.ts'
import type { BlockStore, Store } from '#data/store/store.ts'

const TABLE = 65_536
const SOURCE = TABLE + COMPRESS_TABLE_SIZE
const TARGET = SOURCE + BLOCK_SIZE
const codec = openCodec(createCodecMemory(TARGET + 2 * BLOCK_SIZE))

/** A disk for tests: what its blocks hold, by index; undefined for zeros. */
export interface TestDisk {
  readonly size: number
  block(index: number): Uint8Array | undefined
}

/** The bytes at rest of a block. */
export function encode(plain: Uint8Array): Uint8Array {
  codec.bytes.set(plain, SOURCE)
  const place = { source: SOURCE, length: plain.length, target: TARGET, table: TABLE }
  return codec.bytes.slice(TARGET, TARGET + encodeBlock(codec, place))
}

/** Stores a disk as an ingest does, but slowly; the same array twice is encoded once. */
export async function storeDisk(store: Store, disk: TestDisk): Promise<string> {
  await using writer = new ManifestWriter({ directory: tmpdir() })
  const known = new Map<Uint8Array, { digest: string; length: number }>()
  for (let index = 0; index < blockCount(disk.size); index++) {
    const plain = disk.block(index)
    if (!plain) continue
    let stored = known.get(plain)
    if (!stored) {
      const bytes = encode(plain)
      stored = { digest: digestOf(plain), length: bytes.length }
      known.set(plain, stored)
      await store.blocks.put(stored.digest, bytes)
    }
    await writer.set(index, stored.digest, stored.length)
  }
  const { digest } = await writer.finish(store.manifests, disk.size)
  await store.sync()
  return digest
}

/** A disk of `size` bytes; about `zeroPart` of its blocks are zeros, some of the others appear twice. */
export function randomDisk(seed: number, size: number, zeroPart = 0.3): TestDisk {
  const random = createRandom(seed)
  const blocks: (Uint8Array | undefined)[] = []
  for (let index = 0; index < blockCount(size); index++) {
    const length = blockLength(size, index)
    const again = random.chance(0.1) ? blocks[random.below(index)] : undefined
    const fresh = () => shapedBytes(random, length)
    blocks.push(random.chance(zeroPart) ? undefined : again?.length === length ? again : fresh())
  }
  return { size, block: (index) => blocks[index] }
}

/** All bytes of a small disk. */
export function plainBytes(disk: TestDisk): Buffer {
  const bytes = Buffer.alloc(disk.size)
  for (let index = 0; index < blockCount(disk.size); index++)
    bytes.set(disk.block(index) ?? [], index * BLOCK_SIZE)
  return bytes
}

/** The same store, but with another way to get blocks. */
export function withGet(store: Store, get: BlockStore['get']): Store {
  const { blocks } = store
  return {
    ...store,
    blocks: {
      get,
      readInto: (digest, target) => blocks.readInto(digest, target),
      claim: (digest) => blocks.claim(digest),
      sizeOf: (digest) => blocks.sizeOf(digest),
      put: (digest, bytes) => blocks.put(digest, bytes),
      mend: (digest, bytes) => blocks.mend(digest, bytes),
      remove: (digest, since) => blocks.remove(digest, since),
      list: (after) => blocks.list(after),
      quarantine: (digest) => blocks.quarantine(digest),
    },
    sync: () => store.sync(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}
