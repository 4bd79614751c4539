import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { KiB, MiB } from '#base/bytes.ts'
import { Refusal } from '#base/refusal.ts'
import { isRetryable } from '#control/jobs/retry.ts'
import { toFailure } from '#control/library/failure.ts'
import type { Wrong } from './broken-decoder.fixtures.ts'
import { decodeStream } from './decode-stream.ts'
import { childrenOf, until } from './decoders.fixtures.ts'
import type { StreamOrder } from './orders.ts'
import { type StartOptions, startDecoder } from './start-decoder.ts'
import { unprivilegedId } from './unprivileged.ts'

const BROKEN = new URL('./broken-decoder.fixtures.ts', import.meta.url)
const ANSWER_MS = 1500
const LIMIT = 16 * MiB
const GZIP: StreamOrder = { kind: 'gzip', limit: LIMIT }

async function* inChunks(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Decodes in a process; gives why that ended by itself, where it did. */
async function decode(
  input: AsyncIterable<Uint8Array>,
  order: StreamOrder,
  { answerMs, ...options }: StartOptions & { readonly answerMs?: number | undefined } = {},
) {
  await using decoder = startDecoder('pipe', options)
  const pieces: Uint8Array[] = []
  try {
    for await (const piece of decodeStream(input, order, { open: () => decoder.connection, answerMs }))
      pieces.push(piece.slice())
    return { bytes: Buffer.concat(pieces), error: undefined }
  } catch (error) {
    await decoder[Symbol.asyncDispose]()
    return { bytes: Buffer.concat(pieces), error: (await decoder.ended) ?? error }
  }
}

/** One that never gets going. */
const IDLE = new URL('./idle-decoder.fixtures.ts', import.meta.url)

const answerMs = (wrong: Wrong) => (wrong === 'says nothing' ? ANSWER_MS : undefined)
const broken = (wrong: Wrong) =>
  decode(inChunks(Buffer.from(wrong)), GZIP, { program: BROKEN, answerMs: answerMs(wrong) })

test('decoder: streams come out as they went in, whatever their pieces', async () => {
  const plain = Buffer.concat([Buffer.alloc(MiB), randomBytes(MiB)])
  const members = Array.from({ length: 64 }, (_, index) =>
    gzipSync(plain.subarray((index * plain.length) / 64, ((index + 1) * plain.length) / 64)),
  )
  const gzip = await decode(inChunks(Buffer.concat(members), 977), GZIP)
  assert.deepEqual([gzip.error, gzip.bytes.equals(plain)], [undefined, true])
  const order = { kind: 'zstd', limit: LIMIT, zstdWindow: 8 * MiB } as const
  const zstd = await decode(inChunks(zstdCompressSync(plain), MiB), order)
  assert.deepEqual([zstd.error, zstd.bytes.equals(plain)], [undefined, true])
})

test('decoder: what is refused is refused in the same words', async () => {
  const cut = await decode(inChunks(gzipSync(randomBytes(100_000)).subarray(0, 50_000)), GZIP)
  assert.ok(cut.error instanceof Refusal)
  assert.deepEqual(
    [cut.error.category, cut.error.message.slice(0, 32)],
    ['truncated', 'The file ends too early (50000 b'],
  )
  assert.ok(cut.error.hint)
  const large = await decode(inChunks(gzipSync(Buffer.alloc(LIMIT + 1))), GZIP)
  assert.equal((large.error as Refusal).category, 'too-large')
})

test('decoder: a source that fails, or that nobody wants any more, is told as it is', async () => {
  async function* failing() {
    yield gzipSync(randomBytes(100_000)).subarray(0, 50_000)
    throw new Error('the source failed')
  }
  assert.match(String((await decode(failing(), GZIP)).error), /the source failed/)
  const stopping = new AbortController()
  await using decoder = startDecoder('pipe')
  async function* silent() {
    yield gzipSync(randomBytes(100_000)).subarray(0, 50_000)
    stopping.abort(new Error('stopped'))
    await new Promise(() => {})
  }
  const options = { open: () => decoder.connection, signal: stopping.signal }
  await assert.rejects(async () => {
    for await (const _ of decodeStream(silent(), GZIP, options));
  }, /stopped/)
})

const ENDS: readonly [Wrong, RegExp, string][] = [
  ['says nothing', /gave no answer for 1500 ms/, 'internal'],
  ['says too much', /more than the limit/, 'too-large'],
  ['says nonsense', /answered what is no answer/, 'internal'],
  ['sends more at once than it may', /answered what is no answer/, 'internal'],
  ['invents a reason', /^Error: a decoder failed: a \[31mb{400,500}$/, 'internal'],
  ['needs too much memory', /more memory/, 'memory-limit'],
  ['crashes', /a decoder ended with SIGABRT/, 'internal'],
  ['faults', /a decoder ended with SIGSEGV/, 'internal'],
  ['exits', /a decoder ended with code 0/, 'internal'],
  ['is killed', /ended in the middle of its work/, 'machine'],
  ['is stopped with its terminal', /ended in the middle of its work/, 'machine'],
]
for (const [wrong, reason, code] of ENDS)
  test(`decoder: one that ${wrong} costs what it was at, with a reason`, async () => {
    const { error } = await broken(wrong)
    assert.match(String(error), reason)
    assert.equal(toFailure(error).code, code)
    assert.equal(isRetryable(error), code === 'machine')
    assert.deepEqual(childrenOf(process.pid), [])
  })

test('decoder: one that says it is done before its input is there is not believed', async () => {
  async function* slow() {
    yield Buffer.from('says it is done')
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve))
      yield Buffer.alloc(64 * KiB)
    }
  }
  const { error } = await decode(slow(), GZIP, { program: BROKEN })
  assert.ok(error instanceof Error)
})

test('decoder: one that was taken over finds no environment, no files and no programs', async () => {
  const { bytes } = await broken('tells all')
  assert.deepEqual(JSON.parse(bytes.toString()), {
    env: {},
    program: 'true',
    passwd: 'ERR_ACCESS_DENIED',
    status: 'ERR_ACCESS_DENIED',
    write: 'ERR_ACCESS_DENIED',
    spawn: 'ERR_ACCESS_DENIED',
  })
})

test('decoder: it has no rights, nor any descriptors but its own', async () => {
  await using decoder = startDecoder('pipe')
  async function* half() {
    yield gzipSync(randomBytes(MiB)).subarray(0, 600_000)
    await new Promise(() => {})
  }
  const running = decodeStream(half(), GZIP, { open: () => decoder.connection })
  await running.next()
  const [child, ...others] = childrenOf(process.pid)
  assert.ok(child && others.length === 0)
  const { pid, status } = child
  assert.equal(status.get('NoNewPrivs'), '1')
  for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb']) assert.match(status.get(set) ?? '', /^0+$/, set)
  if (process.getuid?.() === 0) {
    const [uid, ...sameUid] = new Set(status.get('Uid')?.split('\t'))
    const [gid, ...sameGid] = new Set(status.get('Gid')?.split('\t'))
    assert.deepEqual([sameUid, sameGid, uid === gid, Number(uid) >= 65_534], [[], [], true, true])
    assert.equal(status.get('Groups')?.trim(), '')
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')
      assert.match(text, new RegExp(`^Uid:\t${uid}\t${uid}\t${uid}\t${uid}$`, 'm'), `thread ${thread}`)
    }
  }
  const limits = readFileSync(`/proc/${pid}/limits`, 'utf8')
  assert.match(limits, /^Max file size +0 +0 /m)
  assert.match(limits, /^Max core file size +0 +0 /m)
  assert.match(limits, /^Max data size +2147483648 +2147483648 /m)
  const inherited = readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    const target = readlinkSync(`/proc/${pid}/fd/${fd}`)
    return !/^(socket|pipe|anon_inode):|^\/dev\/null$/.test(target)
  })
  assert.deepEqual(inherited, [])
  await running.return()
})

test('decoder: where none can be started, it is no fault of what it was for', async () => {
  const execPath = process.execPath
  process.execPath = '/nowhere/node'
  try {
    const { error } = await decode(inChunks(gzipSync('a')), GZIP)
    assert.match(String(error), /start a decoder: the system starts no such process/)
    assert.equal(isRetryable(error), true)
  } finally {
    process.execPath = execPath
  }
})

test('decoder: one that never gets going is ended, and one that ends before is told as it is', async () => {
  const readyMs = 300
  const idle = await decode(inChunks(gzipSync('a')), GZIP, { program: IDLE, readyMs })
  assert.match(String(idle.error), /start a decoder: it was not ready in time/)
  const crashed = await decode(inChunks(gzipSync('a')), GZIP, { program: new URL('./none.mjs', IDLE) })
  assert.match(String(crashed.error), /start a decoder: .* or ended before/)
  assert.match(String((crashed.error as Error).cause), /a decoder ended with code 1/)
  for (const { error } of [idle, crashed]) {
    assert.equal(toFailure(error).code, 'machine')
    assert.equal(isRetryable(error), true)
  }
  assert.deepEqual(childrenOf(process.pid), [])
})

test('decoder: one that leaves its descriptors to a child is gone all the same', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'heir-'))
  t.after(() => rm(folder, { recursive: true }))
  const program = join(folder, 'node')
  await writeFile(program, '#!/bin/sh\nsleep 60 &\necho $!\nexit 1\n', { mode: 0o755 })
  const execPath = process.execPath
  process.execPath = program
  const decoder = startDecoder('pipe')
  process.execPath = execPath
  const [child] = (await once(decoder.connection, 'data')) as [Buffer]
  assert.match(String(await decoder.ended), /start a decoder: .* or ended before/)
  // It is still there.
  process.kill(Number(child), 'SIGKILL')
})

test('decoder: one whose user leaves is not to blame, whatever it does', async () => {
  for (const order of ['', '\x00\x02\x00\x00\x00{']) {
    const decoder = startDecoder('pipe')
    await until(() => childrenOf(process.pid).length > 0)
    decoder.connection.on('error', () => {}).end(order, () => decoder.connection.destroy())
    assert.equal(await decoder.ended, undefined)
  }
})

test('decoder: the user it becomes is nobody’s, exists, and is only changed to by who may', () => {
  const capable = 'CapEff:\t00000000000000c0\n'
  const id = (status: string, map: string) =>
    unprivilegedId(
      () => 5,
      (path) => (path.endsWith('status') ? status : map),
    )
  assert.equal(id(capable, '         0          0 4294967295\n'), 0x7000_0005)
  assert.equal(id(capable, '0 100000 65536\n'), 65_534)
  assert.equal(id(capable, '0 1000 1\n'), undefined)
  assert.equal(id(capable, '0 1000 1\n1 100000 65536'), 65_534)
  assert.equal(id('CapEff:\t0000000000000040\n', '0 0 4294967295'), undefined)
  assert.equal(id('CapEff:\t0000000000000000\n', '0 0 4294967295'), undefined)
})
