import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { BLOCK_SIZE, digestOf, encodeBlock, FRAMING_SIZE, maxStoredSize } from '#data/block/block.ts'
import { createCodecMemory, openCodec } from '#data/codec/codec.ts'
import type { Digest, Store, StoredFile } from './store.ts'

const TABLE = 2048
const SOURCE = 64 * 1024
const TARGET = 2 * BLOCK_SIZE
/** Later than any claim that a test makes. */
const LATER = Number.MAX_SAFE_INTEGER

/** A block at rest and its digest, of `length` bytes that no other `seed` gives. */
export function exampleBlock(
  seed: number,
  length = 5000,
): { digest: Digest; stored: Uint8Array; plain: Uint8Array } {
  const codec = openCodec(createCodecMemory(4 * BLOCK_SIZE))
  const plain = Uint8Array.from({ length }, (_, index) => ((index % 97) ^ seed) & 255)
  new DataView(plain.buffer).setUint32(0, seed)
  codec.bytes.set(plain, SOURCE)
  const size = encodeBlock(codec, { source: SOURCE, length, target: TARGET, table: TABLE })
  return { digest: digestOf(plain), stored: codec.bytes.slice(TARGET, TARGET + size), plain }
}

export function isError(code: LibraryError['code']): (error: unknown) => boolean {
  return (error) => error instanceof LibraryError && error.code === code
}

async function readManifest(store: Store, digest: Digest): Promise<Uint8Array> {
  await using manifest = await store.manifests.open(digest)
  const bytes = new Uint8Array(manifest.size ?? 0)
  assert.equal(await manifest.readAt(bytes, 0), bytes.length)
  return bytes
}

/** What was removed is gone for good, as after a later collection. */
async function purge(files: Store['blocks'] | Store['manifests']): Promise<void> {
  const { removed } = files
  if (!removed) return
  for (const file of await Array.fromAsync(removed.list())) await removed.purge(file)
}

/** What every store must do; each runs it in its own test. */
export function storeContract(
  name: string,
  open: () => Promise<Store>,
  options: { readonly skip?: string } = {},
): void {
  const contract = (behaviour: string, run: (store: Store) => Promise<void>) =>
    test(`${name} store: ${behaviour}`, options, async () => {
      await using store = await open()
      await run(store)
    })

  contract('a block comes back as it was put', async (store) => {
    for (const length of [4, 5000, BLOCK_SIZE]) {
      const { digest, stored } = exampleBlock(length, length)
      assert.equal(await store.blocks.claim(digest), undefined)
      await store.blocks.put(digest, stored)
      assert.deepEqual(Buffer.from(await store.blocks.get(digest)), Buffer.from(stored))
      assert.equal(await store.blocks.claim(digest), stored.length)
      const target = new Uint8Array(maxStoredSize(BLOCK_SIZE)).fill(7)
      assert.equal(await store.blocks.readInto(digest, target), stored.length)
      assert.deepEqual(Buffer.from(target.subarray(0, stored.length)), Buffer.from(stored))
      assert.ok(target.subarray(stored.length).every((byte) => byte === 7))
    }
    await store.sync()
  })

  contract('a few blocks and manifests can be synced by name', async (store) => {
    const [first, second] = [exampleBlock(11), exampleBlock(12)]
    for (const { digest, stored } of [first, second]) await store.blocks.put(digest, stored)
    await store.manifests.put(first.digest, [Uint8Array.of(1)])
    await store.sync({ blocks: [first.digest, second.digest], manifests: [first.digest] })
    await store.sync({ blocks: [], manifests: [] })
    await assert.rejects(store.sync({ blocks: [], manifests: [second.digest] }), isError('not_found'))
    await assert.rejects(
      store.sync({ blocks: [exampleBlock(13).digest], manifests: [] }),
      isError('not_found'),
    )
  })

  contract('the bytes given to put may be reused', async (store) => {
    const { digest, stored } = exampleBlock(1)
    const buffer = Uint8Array.from(stored)
    await store.blocks.put(digest, buffer)
    buffer.fill(0)
    assert.deepEqual(Buffer.from(await store.blocks.get(digest)), Buffer.from(stored))
  })

  contract('a block may be put twice, also at once', async (store) => {
    const { digest, stored } = exampleBlock(2)
    await Promise.all(Array.from({ length: 8 }, () => store.blocks.put(digest, stored)))
    await store.blocks.put(digest, stored)
    assert.equal((await Array.fromAsync(store.blocks.list())).length, 1)
    assert.equal((await store.blocks.get(digest)).length, stored.length)
  })

  contract('what is not there is not found', async (store) => {
    const { digest } = exampleBlock(3)
    await assert.rejects(store.blocks.get(digest), isError('not_found'))
    await assert.rejects(store.blocks.readInto(digest, new Uint8Array(9)), isError('not_found'))
    await assert.rejects(store.manifests.open(digest), isError('not_found'))
    assert.equal(await store.manifests.claim(digest), undefined)
    assert.equal(await store.blocks.remove(digest, LATER), false)
    assert.equal(await store.manifests.remove(digest, LATER), false)
    await store.blocks.quarantine(digest)
  })

  contract('a damaged block is reported, never returned, and can be put again', async (store) => {
    const { digest, stored } = exampleBlock(4)
    const damaged = Uint8Array.from(stored)
    damaged[10] = (damaged[10] ?? 0) ^ 1
    await store.blocks.put(digest, damaged)
    await assert.rejects(store.blocks.get(digest), isError('corrupt'))
    await store.blocks.quarantine(digest)
    await assert.rejects(store.blocks.get(digest), isError('not_found'))
    await store.blocks.put(digest, stored)
    assert.equal((await store.blocks.get(digest)).length, stored.length)
  })

  contract('removal spares what was put or claimed since', async (store) => {
    const start = await store.generation()
    const { digest, stored } = exampleBlock(5)
    await store.blocks.put(digest, stored)
    assert.equal(await store.blocks.remove(digest, start), false)
    const [file] = await Array.fromAsync(store.blocks.list())
    assert.ok(file && [undefined, start].includes(file.claimedIn))
    const next = await store.nextGeneration()
    assert.ok(next > start && (await store.generation()) === next)
    await store.blocks.claim(digest)
    assert.equal(await store.blocks.remove(digest, next), false)
    assert.equal(await store.blocks.remove(digest, await store.nextGeneration()), true)
    assert.equal(await store.blocks.remove(digest, LATER), false)
    assert.equal(await store.blocks.claim(digest), undefined)
    assert.deepEqual(await Array.fromAsync(store.blocks.list()), [])
    await purge(store.blocks)
    await assert.rejects(store.blocks.get(digest), isError('not_found'))
    assert.equal(await store.blocks.claim(digest), undefined)
  })

  contract('what was removed can be read and put back for as long as it is not purged', async (store) => {
    const { removed } = store.blocks
    if (!removed) return
    const { digest, stored } = exampleBlock(14)
    await store.blocks.put(digest, stored)
    const generation = await store.generation()
    assert.ok(await store.blocks.remove(digest, LATER))
    assert.equal((await store.blocks.get(digest)).length, stored.length)
    assert.equal(await store.blocks.sizeOf(digest), stored.length)
    const [file, ...others] = await Array.fromAsync(removed.list())
    assert.ok(file && others.length === 0)
    assert.deepEqual([file.digest, file.size, file.removedIn], [digest, stored.length, generation])
    await removed.putBack(file)
    await removed.putBack(file)
    assert.equal(await store.blocks.claim(digest), stored.length)
    await removed.purge(file)
    assert.deepEqual(await Array.fromAsync(removed.list()), [])
    assert.deepEqual(Buffer.from(await store.blocks.get(digest)), Buffer.from(stored))
  })

  contract('what is quarantined is not found again where it was once removed', async (store) => {
    const { digest, stored } = exampleBlock(15)
    await store.blocks.put(digest, stored)
    assert.ok(await store.blocks.remove(digest, LATER))
    await store.blocks.put(digest, stored)
    await store.blocks.quarantine(digest)
    await assert.rejects(store.blocks.get(digest), isError('not_found'))
  })

  contract('lists every block with its size at rest', async (store) => {
    const expected = new Map<Digest, number>()
    for (let seed = 10; seed < 40; seed++) {
      const { digest, stored } = exampleBlock(seed, 100 + seed)
      await store.blocks.put(digest, stored)
      expected.set(digest, stored.length)
    }
    const listed: StoredFile[] = await Array.fromAsync(store.blocks.list())
    assert.deepEqual(new Map(listed.map(({ digest, size }) => [digest, size])), expected)
    assert.equal(listed.length, expected.size)
    assert.ok(listed.every(({ size }) => size > FRAMING_SIZE))
    assert.deepEqual(await Array.fromAsync(store.manifests.list()), [])
  })

  contract('a manifest is kept from its parts and read at any offset', async (store) => {
    const { digest } = exampleBlock(6)
    async function* parts() {
      yield Uint8Array.of(1, 2, 3)
      yield new Uint8Array(0)
      yield Uint8Array.of(4, 5)
    }
    await store.manifests.put(digest, parts())
    await store.manifests.put(digest, [Uint8Array.of(1, 2, 3, 4, 5)])
    assert.deepEqual([...(await readManifest(store, digest))], [1, 2, 3, 4, 5])
    assert.equal(await store.manifests.claim(digest), 5)
    await using manifest = await store.manifests.open(digest)
    const target = new Uint8Array(4)
    assert.equal(await manifest.readAt(target, 3), 2)
    assert.deepEqual([...target], [4, 5, 0, 0])
    assert.equal(await manifest.readAt(target, 5), 0)
    assert.equal((await Array.fromAsync(store.manifests.list()))[0]?.size, 5)
  })

  contract('a manifest whose parts end in an error is not there', async (store) => {
    const { digest } = exampleBlock(7)
    async function* parts() {
      yield Uint8Array.of(1)
      throw new Error('cut off')
    }
    await assert.rejects(store.manifests.put(digest, parts()), /cut off/)
    assert.equal(await store.manifests.claim(digest), undefined)
    assert.deepEqual(await Array.fromAsync(store.manifests.list()), [])
  })

  contract('an open manifest stays readable when it is removed', async (store) => {
    const { digest } = exampleBlock(8)
    await store.manifests.put(digest, [Uint8Array.of(9, 8)])
    await using manifest = await store.manifests.open(digest)
    assert.equal(await store.manifests.remove(digest, LATER), true)
    await purge(store.manifests)
    const target = new Uint8Array(2)
    assert.equal(await manifest.readAt(target, 0), 2)
    assert.deepEqual([...target], [9, 8])
    await assert.rejects(store.manifests.open(digest), isError('not_found'))
  })

  contract('what is mended is there at every moment, and is what was put last', async (store) => {
    const { digest, stored } = exampleBlock(1)
    const wrong = exampleBlock(2).stored
    await store.blocks.mend(digest, wrong)
    assert.deepEqual(Buffer.from(await store.blocks.get(digest)), Buffer.from(wrong))
    await store.blocks.mend(digest, stored)
    assert.deepEqual(Buffer.from(await store.blocks.get(digest)), Buffer.from(stored))
    await store.manifests.mend(digest, [wrong])
    await store.manifests.mend(digest, [stored.subarray(0, 5), stored.subarray(5)])
    assert.deepEqual(Buffer.from(await readManifest(store, digest)), Buffer.from(stored))
  })

  contract('a size is told without a claim, and a list goes on where one ended', async (store) => {
    const digests = [1, 2, 3, 4, 5].map((seed) => exampleBlock(seed))
    for (const { digest, stored } of digests) await store.blocks.put(digest, stored)
    const sorted = digests.map(({ digest }) => digest).sort()
    for (let at = 0; at < sorted.length; at++) {
      const rest = (await Array.fromAsync(store.blocks.list(sorted[at]))).map(({ digest }) => digest)
      assert.deepEqual(rest, sorted.slice(at + 1))
    }
    const { digest, stored } = exampleBlock(1)
    assert.equal(await store.blocks.sizeOf(digest), stored.length)
    assert.equal(await store.manifests.sizeOf(digest), undefined)
    assert.ok(await store.blocks.remove(digest, LATER))
    await purge(store.blocks)
    assert.equal(await store.blocks.sizeOf(digest), undefined)
  })
}
