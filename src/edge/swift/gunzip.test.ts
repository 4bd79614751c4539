import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { KiB, MiB } from '#base/bytes.ts'
import { MachineFault } from '#base/machine-fault.ts'
import { Busy, Shares } from '#base/shares.ts'
import { childrenOf } from '#data/native/decoders.fixtures.ts'
import type { Exchange } from './exchange.ts'
import { gunzip } from './gunzip.ts'
import { SwiftProblem } from './reply.ts'
import { TarProblem } from './tar-reader.ts'

type Asked = Parameters<typeof gunzip>[0]

const logged: unknown[] = []
const log = { error: (...args: unknown[]) => logged.push(args) } as unknown as Exchange['log']
const asked = (total = 16): Asked => ({
  caller: undefined,
  unpacking: new Shares({ total, busy: 'too many archives are being unpacked' }),
  log,
})

async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += 64 * KiB) yield bytes.subarray(at, at + 64 * KiB)
}
const unpack = (bytes: Uint8Array, limits?: Parameters<typeof gunzip>[2]) =>
  buffer(Readable.from(gunzip(asked(), inChunks(bytes), limits)))

test('gunzip: members one after the other', async () => {
  const bytes = Buffer.concat([gzipSync('a'.repeat(100_000)), gzipSync('b'), Buffer.alloc(512)])
  assert.equal((await unpack(bytes)).toString(), `${'a'.repeat(100_000)}b`)
})

test('gunzip: a bomb ends at the limit of bytes', async () => {
  const bomb = gzipSync(Buffer.alloc(32 * MiB))
  await assert.rejects(unpack(bomb, { unpacked: 4 * MiB, seconds: 60 }), (error) => {
    assert.ok(error instanceof TarProblem)
    assert.equal(error.message, 'it unpacks to more than 4194304 bytes')
    return true
  })
})

test('gunzip: a bomb ends at the limit of processor time', async () => {
  const zeros = gzipSync(Buffer.alloc(16 * MiB))
  async function* endless() {
    for (;;) yield zeros
  }
  const running = gunzip(asked(), endless(), { unpacked: 2 ** 50, seconds: 1 })
  let bytes = 0
  await assert.rejects(async () => {
    for await (const chunk of running) bytes += chunk.length
  }, /^TarProblem: decode: it takes more processor time than it may$/)
  assert.ok(bytes > 0)
})

test('gunzip: only so many at once; what is done makes room', async () => {
  const few = asked(2)
  const first = gunzip(few, inChunks(gzipSync('a')))
  await first.next()
  await assert.rejects(gunzip(few, inChunks(gzipSync('b'))).next(), Busy)
  await first.return()
  assert.equal((await buffer(Readable.from(gunzip(few, inChunks(gzipSync('c')))))).toString(), 'c')
})

test('gunzip: a process that the system ends is no fault of the archive', async () => {
  const running = gunzip(asked(), inChunks(gzipSync(randomBytes(8 * MiB))))
  await running.next()
  for (const { pid } of childrenOf(process.pid)) process.kill(pid, 'SIGKILL')
  await assert.rejects(async () => {
    for await (const _ of running);
  }, MachineFault)
  assert.deepEqual(logged, [])
})

test('gunzip: why a body ended is told as it is', async () => {
  async function* cut() {
    yield gzipSync(Buffer.alloc(MiB)).subarray(0, 100)
    throw new SwiftProblem(499)
  }
  await assert.rejects(buffer(Readable.from(gunzip(asked(), cut()))), { status: 499 })
  assert.deepEqual(logged, [])
})
