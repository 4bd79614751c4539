import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { deflateRawSync, zstdCompressSync } from 'node:zlib'
import { KiB } from '#base/bytes.ts'
import type { Wrong } from './broken-decoder.fixtures.ts'
import { createClusterDecoder } from './cluster-decoder.ts'
import { connectDecoder, createDecoderHost } from './decoder-host.ts'
import { childrenOf } from './decoders.fixtures.ts'
import type { StartOptions } from './start-decoder.ts'

const BROKEN: StartOptions = { program: new URL('./broken-decoder.fixtures.ts', import.meta.url) }
const SIZE = 64 * KiB

describe('cluster decoder', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clusters-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  function openDecoder(options?: StartOptions, answerMs?: number) {
    const host = createDecoderHost(folder, options)
    return {
      decode: createClusterDecoder((onread) => connectDecoder(host.address, onread), answerMs),
      async [Symbol.asyncDispose]() {
        await host.close()
        assert.deepEqual(childrenOf(process.pid), [])
      },
    }
  }

  for (const [compression, compress] of [
    ['deflate', deflateRawSync],
    ['zstd', zstdCompressSync],
  ] as const)
    test(`batches of ${compression} lie where they are wanted; the first bad one ends its own`, async () => {
      await using decoder = openDecoder()
      const plain = randomBytes(30 * SIZE)
      const inputs = Array.from({ length: 30 }, (_, index) =>
        Buffer.concat([compress(plain.subarray(index * SIZE, (index + 1) * SIZE)), Buffer.alloc(9)]),
      )
      const taken = inputs.map(({ length }) => length - 9)
      const batch = { clusterSize: SIZE, compression, inputs }
      const memory = Buffer.from(new SharedArrayBuffer(32 * SIZE))
      const places = [memory.subarray(0, 7 * SIZE), memory.subarray(8 * SIZE, 31 * SIZE)]
      for (let round = 0; round < 3; round++) {
        memory.fill(0xff)
        assert.deepEqual(await decoder.decode(batch, places), taken)
        assert.ok(Buffer.concat(places).equals(plain))
        const between = Buffer.alloc(SIZE, 0xff)
        assert.deepEqual(
          [memory.subarray(7 * SIZE, 8 * SIZE), memory.subarray(31 * SIZE)],
          [between, between],
        )
        const damaged = { ...batch, inputs: inputs.with(2, Buffer.alloc(100, 0xff)) }
        const bad = await decoder.decode(damaged, places)
        assert.deepEqual(bad, [...taken.slice(0, 2), ...new Array(28).fill(0)])
      }
    })

  test('the smallest and the largest clusters there are', async () => {
    await using decoder = openDecoder()
    for (const clusterSize of [512, 2048 * KiB]) {
      const plain = randomBytes(2048 * KiB)
      const inputs: Buffer[] = []
      for (let at = 0; at < plain.length; at += clusterSize)
        inputs.push(deflateRawSync(plain.subarray(at, at + clusterSize)))
      const place = Buffer.alloc(plain.length)
      await decoder.decode({ clusterSize, compression: 'deflate', inputs }, [place])
      assert.ok(place.equals(plain))
    }
  })

  const ENDS: readonly [Wrong, RegExp][] = [
    ['says nothing', /gave no answer for 1500 ms/],
    ['says nonsense', /answered what is no answer/],
    ['says too much', /answered what is no answer/],
    ['says it is done', /answered what is no answer/],
    ['sends more at once than it may', /answered what is no answer/],
    ['invents a reason', /answered what is no answer/],
    ['crashes', /ended in the middle/],
    ['exits', /ended in the middle/],
    ['is killed', /ended in the middle/],
  ]
  for (const [wrong, reason] of ENDS)
    test(`one that ${wrong} decodes no clusters, nor any later`, async () => {
      await using decoder = openDecoder(BROKEN, wrong === 'says nothing' ? 1500 : undefined)
      const batch = { clusterSize: 512, compression: 'deflate', inputs: [Buffer.from(wrong)] } as const
      const place = Buffer.alloc(512)
      await assert.rejects(decoder.decode(batch, [place]), reason)
      await assert.rejects(decoder.decode(batch, [place]), reason)
    })

  test('one that answers what it was not asked decodes no more', async () => {
    await using decoder = openDecoder(BROKEN)
    // Its messages are as long as this one's answer.
    const batch = {
      clusterSize: 99_996,
      compression: 'deflate',
      inputs: [Buffer.from('says too much')],
    } as const
    const place = Buffer.alloc(99_996)
    await assert.rejects(async () => {
      for (;;) assert.deepEqual(await decoder.decode(batch, [place]), [0])
    }, /answered what is no answer/)
  })

  test('one that says it took more than there was is not believed', async () => {
    await using decoder = openDecoder(BROKEN)
    const batch = {
      clusterSize: 99_996,
      compression: 'deflate',
      inputs: [Buffer.from('takes too much')],
    } as const
    await assert.rejects(decoder.decode(batch, [Buffer.alloc(99_996)]), /answered what is no answer/)
  })

  test('where none can be started, nothing is decoded', async () => {
    const { execPath } = process
    process.execPath = '/nowhere/node'
    try {
      await using decoder = openDecoder()
      const batch = { clusterSize: 512, compression: 'deflate', inputs: [Buffer.from('a')] } as const
      await assert.rejects(decoder.decode(batch, [Buffer.alloc(512)]), /ended in the middle/)
    } finally {
      process.execPath = execPath
    }
  })
})
