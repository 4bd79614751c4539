import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BLOCK_SIZE } from '#data/block/block.ts'
import { DiskCutter } from './disk-cutter.ts'

/** Takes what is submitted instead of storing it. */
function recordingPipeline() {
  const bytes = new Uint8Array(BLOCK_SIZE)
  const submitted: { index: number; length: number; first: number | undefined }[] = []
  return {
    bytes,
    submitted,
    acquireSlot: async () => 0,
    submitBlock: (index: number, address: number, length: number) => {
      submitted.push({ index, length, first: bytes[address] })
    },
  }
}

test('disk cutter: chunks of any length become blocks at multiples of the block size', async () => {
  const pipeline = recordingPipeline()
  const cutter = new DiskCutter(pipeline)
  for (let left = 2 * BLOCK_SIZE + 1024; left > 0; left -= 100_003) {
    await cutter.write(new Uint8Array(Math.min(left, 100_003)).fill(7))
  }
  assert.equal(await cutter.finish(), 2 * BLOCK_SIZE + 1024)
  assert.deepEqual(pipeline.submitted, [
    { index: 0, length: BLOCK_SIZE, first: 7 },
    { index: 1, length: BLOCK_SIZE, first: 7 },
    { index: 2, length: 1024, first: 7 },
  ])
})

test('disk cutter: an odd end is padded with zeros, and the tail is that of the bytes themselves', async () => {
  const pipeline = recordingPipeline()
  const cutter = new DiskCutter(pipeline)
  await cutter.write(new Uint8Array(300).fill(1))
  await cutter.write(new Uint8Array(300).fill(2))
  assert.equal(await cutter.finish(), 1024)
  assert.equal(pipeline.bytes[600], 0)
  assert.deepEqual([...cutter.tail], [...Array(212).fill(1), ...Array(300).fill(2)])
})

test('disk cutter: blocks that went another way are skipped', async () => {
  const pipeline = recordingPipeline()
  const cutter = new DiskCutter(pipeline)
  cutter.skip(3 * BLOCK_SIZE)
  assert.ok(cutter.atBlockBorder)
  await cutter.write(new Uint8Array(512))
  assert.ok(!cutter.atBlockBorder)
  await cutter.finish()
  assert.equal(pipeline.submitted[0]?.index, 3)
})
