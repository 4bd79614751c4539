import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { LibraryError } from '#base/errors.ts'
import { Resources } from '#base/resources.ts'
import { BLOCK_SIZE, digestOf, maxStoredSize } from '#data/block/block.ts'
import { COMPRESS_TABLE_SIZE, createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { DAMAGES, storedPath } from '../../../test/support/damage.ts'
import { openFilesystemStore } from './filesystem.ts'
import { keepBlock } from './keep-block.ts'

const SOURCE = 64 * 1024
const OUTPUT = SOURCE + BLOCK_SIZE
const TABLE = OUTPUT + 2 * BLOCK_SIZE

async function openKeeper(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'keep-block-'))
  t.after(() => rm(folder, { recursive: true }))
  const { blocks } = await openFilesystemStore(folder)
  const faults: Error[] = []
  const readInto: typeof blocks.readInto = (digest, target) => {
    const fault = faults.shift()
    return fault ? Promise.reject(fault) : blocks.readInto(digest, target)
  }
  const codec = openCodec(createCodecMemory(TABLE + COMPRESS_TABLE_SIZE + BLOCK_SIZE))
  const keepWith = { blocks: { ...blocks, readInto }, codec, outputs: new Resources([OUTPUT]), table: TABLE }
  const keep = async (plain: Uint8Array) => {
    codec.bytes.set(plain, SOURCE)
    const kept = await keepBlock(keepWith, SOURCE, plain.length)
    assert.ok(kept)
    return kept
  }
  return { folder, blocks, keep, faults }
}

/** One that LZ4 shrinks, and one of the same length at rest as every other that it does not. */
const SHAPES = {
  text: (seed: number) => Buffer.alloc(BLOCK_SIZE, `some text ${seed} `),
  noise: (seed: number) => {
    const bytes = Buffer.alloc(BLOCK_SIZE)
    let state = seed
    for (let at = 0; at < bytes.length; at += 4) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      bytes.writeUInt32LE((state ^ (state >>> 15)) >>> 0, at)
    }
    return bytes
  },
}

for (const [shape, make] of Object.entries(SHAPES)) {
  test(`keep a block: one of ${shape} that is stored but damaged is mended, not believed`, async (t) => {
    const { folder, blocks, keep } = await openKeeper(t)
    const [plain, other] = [make(1), make(2)]
    const { digest, storedLength, known } = await keep(plain)
    assert.deepEqual([digest, known], [digestOf(plain), false])
    const path = storedPath(folder, 'blocks', digest)
    const otherPath = storedPath(folder, 'blocks', (await keep(other)).digest)
    const sound = await blocks.get(digest)
    for (const { name, apply } of DAMAGES) {
      await apply(path, otherPath)
      assert.deepEqual(await keep(plain), { digest, storedLength, length: BLOCK_SIZE, known: false }, name)
      assert.deepEqual(await blocks.get(digest), sound, name)
      assert.equal((await keep(plain)).known, true, name)
    }
    // What was found is kept for whoever wants to look, except where there was nothing.
    assert.equal((await readdir(join(folder, 'quarantine'))).length, DAMAGES.length - 1)
    assert.deepEqual(await readdir(join(folder, 'temporary')), [])
  })
}

test('keep a block: room for a block is enough for one whose file has grown', async (t) => {
  const { folder, keep } = await openKeeper(t)
  const { digest } = await keep(SHAPES.noise(1))
  const longer = DAMAGES.find(({ name }) => name === 'it has more bytes')
  await longer?.apply(storedPath(folder, 'blocks', digest), '')
  assert.equal((await keep(SHAPES.noise(1))).storedLength, maxStoredSize(BLOCK_SIZE))
})

test('keep a block: one that cannot be read at one moment is read again, and not replaced', async (t) => {
  const { folder, keep, faults } = await openKeeper(t)
  const plain = SHAPES.text(1)
  await keep(plain)
  const cause = Object.assign(new Error('EIO'), { code: 'EIO' })
  faults.push(new LibraryError('unavailable', 'the storage answers EIO', { cause }))
  assert.equal((await keep(plain)).known, true)
  assert.deepEqual([await readdir(join(folder, 'quarantine')), faults], [[], []])
})
