import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { createCodecMemory, openCodec } from '#data/codec/codec.ts'
import { needs } from '../../../test/support/tools.ts'
import { frameEnd, frameHeader } from './lz4-frame.ts'

test('lz4 frame: the header checksum is that of XXH32', () => {
  const codec = openCodec(createCodecMemory(65_536))
  const seed = randomInt(2 ** 31)
  for (const size of [0, 1, 512, 2 ** 20, 2 ** 32 - 1, 2 ** 40 + 512, 2 ** 53 - 1, seed, seed * 4096]) {
    const header = frameHeader(size)
    codec.bytes.set(header.subarray(4, 14), 2048)
    assert.equal(header[14], (codec.xxh32(2048, 10, 0) >>> 8) & 255, `size ${size}`)
    assert.equal(Buffer.from(header).readBigUInt64LE(6), BigInt(size))
  }
})

test('lz4 frame: a frame without blocks is an empty file to the lz4 tool', needs('lz4'), () => {
  const input = Buffer.concat([frameHeader(0), frameEnd()])
  const { status, stdout, stderr } = spawnSync('lz4', ['-dc'], { input })
  assert.equal(status, 0, stderr.toString())
  assert.equal(stdout.length, 0)
})
