import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { MiB } from '#base/bytes.ts'
import {
  assertDamageFound,
  assertRefused,
  assertTruncatedAnywhere,
  diskBytes,
  gzipMember,
  inChunks,
  le16,
  OPTIONS,
  randomSizes,
  readAll,
  runTool,
} from '../../../../test/support/compressed-streams.ts'
import { needs } from '../../../../test/support/tools.ts'
import { decodeGzip } from './decode.ts'

const disk = diskBytes(3 * MiB + 12_345)
const plain = disk.subarray(0, 10_001)
const good = gzipMember({ plain })
/** Too large to be inflated in one call. */
const large = gzipMember({ plain: disk })

test('gzip: reads what the gzip program writes, in chunks of any size', needs('gzip'), async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  for (const options of ['-1', '-6', '-9']) {
    const packed = runTool(`gzip -n -c ${options}`, disk)
    const chunks = await Array.fromAsync(decodeGzip(inChunks(packed, randomSizes(seed)), OPTIONS))
    assert.ok(Buffer.concat(chunks).equals(disk), `gzip ${options}, seed ${seed}`)
  }
})

test('gzip: a member that ends at any place in a chunk is followed by the next', async () => {
  const two = Buffer.concat([large, good, large])
  const expected = Buffer.concat([disk, plain, disk])
  for (let offset = -12; offset <= 12; offset++) {
    async function* cut() {
      yield two.subarray(0, large.length + offset)
      yield two.subarray(large.length + offset)
    }
    assert.ok(Buffer.concat(await Array.fromAsync(decodeGzip(cut(), OPTIONS))).equals(expected), `${offset}`)
  }
})

test('gzip: reads all header fields, members, and zeros at the end', async () => {
  const fields = Buffer.concat([le16(6), Buffer.from('AB\x02\x00xy'), Buffer.from('disk.raw\0a comment\0')])
  const full = gzipMember({ plain, flags: 0x1d, fields, headerChecksumOff: 0 })
  assert.ok((await readAll(decodeGzip, full)).equals(plain))
  assert.ok(
    (
      await readAll(
        decodeGzip,
        Buffer.concat(await Array.fromAsync(inChunks(full, 1), (c) => Buffer.from(c))),
      )
    ).equals(plain),
  )
  const members = Buffer.concat([gzipMember({ plain: Buffer.alloc(0) }), good, full, Buffer.alloc(100_000)])
  assert.ok((await readAll(decodeGzip, members)).equals(Buffer.concat([plain, plain])))
})

test('gzip: thousands of small members take little time', async () => {
  const start = process.cpuUsage()
  await assertRefused(decodeGzip, Buffer.concat(Array(20_000).fill(gzipSync(''))), 'empty')
  const many = Buffer.concat(Array(5_000).fill(gzipMember({ plain: plain.subarray(0, 100) })))
  assert.equal((await readAll(decodeGzip, many)).length, 500_000)
  assert.ok(process.cpuUsage(start).user < 4e6, 'members are not worth a stream each')
})

test('gzip: refuses methods and flags that are not known', async () => {
  await assertRefused(decodeGzip, gzipMember({ plain, method: 7 }), 'unsupported-stream')
  for (const flags of [0x20, 0x40, 0x80]) {
    await assertRefused(decodeGzip, gzipMember({ plain, flags }), 'unsupported-stream')
  }
})

test('gzip: refuses what does not begin as gzip does, though the rest is right', async () => {
  const other = Buffer.from(gzipMember({ plain }))
  other[0] = 0x8f
  await assertRefused(decodeGzip, other, 'bad-stream')
})

test('gzip: refuses header fields of more than 64 KiB, and names without an end', async () => {
  const endless = Buffer.concat([Buffer.from('1f8b0808000000000003', 'hex'), Buffer.alloc(4 * MiB, 'n')])
  await assertRefused(decodeGzip, endless, 'bad-stream')
  const extra = Buffer.concat([le16(60_000), Buffer.alloc(60_000)])
  const comment = Buffer.concat([Buffer.alloc(10_000, 'c'), Buffer.from([0])])
  await assertRefused(
    decodeGzip,
    gzipMember({ plain, flags: 0x14, fields: Buffer.concat([extra, comment]) }),
    'bad-stream',
  )
  const short = Buffer.concat([extra, Buffer.from('c\0')])
  assert.ok((await readAll(decodeGzip, gzipMember({ plain, flags: 0x14, fields: short }))).equals(plain))
})

test('gzip: refuses each wrong checksum and length, of small and large members', async () => {
  await assertRefused(decodeGzip, gzipMember({ plain, headerChecksumOff: 1 }), 'checksum')
  for (const content of [plain, disk]) {
    await assertRefused(decodeGzip, gzipMember({ plain: content, crc: 1 }), 'checksum')
    await assertRefused(
      decodeGzip,
      gzipMember({ plain: content, length: content.length + 1 }),
      'size-mismatch',
    )
  }
})

test('gzip: refuses what is no deflate data', async () => {
  const header = Buffer.from('1f8b0800000000000003', 'hex')
  const distance = Buffer.concat([header, Buffer.from('63004203', 'hex'), Buffer.alloc(8)])
  await assertRefused(decodeGzip, distance, 'bad-stream')
  await assertRefused(decodeGzip, Buffer.concat([good, header, Buffer.alloc(100, 0xff)]), 'bad-stream')
})

test('gzip: refuses what follows a member, also behind zeros', async () => {
  for (const rest of [Buffer.from('garbage!'), Buffer.concat([Buffer.alloc(70_000), Buffer.from('x')])]) {
    await assertRefused(decodeGzip, Buffer.concat([good, rest]), 'trailing-garbage')
    await assertRefused(decodeGzip, Buffer.concat([large, rest]), 'trailing-garbage')
  }
  await assertRefused(decodeGzip, Buffer.concat([good, Buffer.alloc(10), good]), 'trailing-garbage')
})

test('gzip: output ends at the limit, however small the file', async () => {
  const bomb = Buffer.concat(Array(16).fill(gzipSync(Buffer.alloc(16 * MiB), { level: 9 })))
  await assertRefused(decodeGzip, bomb, 'too-large', { limit: 64 * MiB })
  await assertRefused(decodeGzip, good, 'too-large', { limit: plain.length - 1 })
  assert.equal((await readAll(decodeGzip, good, { limit: plain.length })).length, plain.length)
})

test('gzip: a file cut anywhere is truncated', async () => {
  const fields = Buffer.from('disk.raw\0')
  const named = gzipMember({ plain: plain.subarray(0, 300), flags: 0x08, fields, headerChecksumOff: 0 })
  await assertTruncatedAnywhere(decodeGzip, Buffer.concat([named, named]), { from: 1, ends: [named.length] })
  await assertTruncatedAnywhere(decodeGzip, large, { from: 100_000, step: 300_001 })
  for (let cut = 1; cut <= 10; cut++) await assertRefused(decodeGzip, large.subarray(0, -cut), 'truncated')
})

test('gzip: a changed bit gives a refusal or the same content', async (context) => {
  const seed = randomInt(2 ** 31)
  context.diagnostic(`seed ${seed}`)
  await assertDamageFound(decodeGzip, Buffer.concat([good, good]), Buffer.concat([plain, plain]), {
    seed,
    rounds: 300,
  })
})

test('gzip: an input that fails, an abort, and a reader that leaves are all the end', async () => {
  let closed = 0
  async function* input(end: () => void) {
    try {
      yield large.subarray(0, 200_000)
      end()
      await new Promise(() => {})
    } finally {
      closed++
    }
  }
  const fails = () => {
    throw new Error('connection lost')
  }
  await assert.rejects(Array.fromAsync(decodeGzip(input(fails), OPTIONS)), /connection lost/)
  const stop = new AbortController()
  const aborts = () => stop.abort(new Error('cancelled'))
  await assert.rejects(
    Array.fromAsync(decodeGzip(input(aborts), { ...OPTIONS, signal: stop.signal })),
    /cancelled/,
  )
  for await (const chunk of decodeGzip(inChunks(large, 65_536), OPTIONS)) if (chunk.length > 0) break
  assert.equal(closed, 1)
})
