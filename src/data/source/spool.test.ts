import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { fstatSync, readSync } from 'node:fs'
import { type FileHandle, mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { createSpool } from './spool.ts'

let directory: string
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spool-'))
})
after(() => rm(directory, { recursive: true }))

const create = (signal = new AbortController().signal) => createSpool({ directory, signal })
const isPending = async (promise: Promise<unknown>) => {
  const settled = promise.then(
    () => false,
    () => false,
  )
  // Long enough for a write that is under way to finish.
  return Promise.race([settled, new Promise<true>((resolve) => setTimeout(resolve, 30, true))])
}

test('spool: bytes written in pieces of any size are read back at any place', async () => {
  const content = randomBytes(5 * MiB + 321)
  await using spool = await create()
  for (let at = 0, size = 1; at < content.length; at += size, size = (size * 7) % 300_007) {
    await spool.write(content.subarray(at, at + size))
  }
  await spool.end()
  assert.equal(spool.bytes.size, content.length)
  for (const [offset, length] of [
    [0, content.length],
    [MiB - 1, 2],
    [content.length - 5, 5],
    [77, 0],
  ] as const) {
    const target = Buffer.alloc(length)
    assert.equal(await spool.bytes.readAt(target, offset), length)
    assert.ok(target.equals(content.subarray(offset, offset + length)))
  }
  const target = Buffer.alloc(10)
  assert.equal(await spool.bytes.readAt(target, content.length - 4), 4)
  assert.equal(await spool.bytes.readAt(target, content.length + 4), 0)
})

test('spool: a chunk’s memory is free again once it is written', async () => {
  await using spool = await create()
  const chunk = Buffer.alloc(700_000)
  for (let index = 0; index < 6; index++) await spool.write(chunk.fill(index))
  await spool.end()
  const target = Buffer.alloc(1)
  for (let index = 0; index < 6; index++) {
    await spool.bytes.readAt(target, index * chunk.length + 699_999)
    assert.equal(target[0], index)
  }
})

test('spool: a read waits for bytes on their way, and gets them before the batch is full', async () => {
  await using spool = await create()
  const target = Buffer.alloc(10)
  const read = spool.bytes.readAt(target, 5)
  await spool.write(Buffer.from('0123456789'))
  assert.equal(await isPending(read), true)
  assert.equal(spool.bytes.size, undefined)
  await spool.write(Buffer.from('abcdef'))
  assert.equal(await read, 10)
  assert.equal(target.toString(), '56789abcde')
  const late = spool.bytes.readAt(target, 12)
  const past = spool.waitFor(1000)
  await spool.write(Buffer.from('gh'))
  await spool.end()
  assert.equal(await late, 6)
  assert.equal(await past, 18)
})

test('spool: the file can be read through its descriptor, below what was waited for', async () => {
  await using spool = await create()
  await spool.write(Buffer.from('hello'))
  assert.equal(await spool.waitFor(5), 5)
  const target = Buffer.alloc(5)
  readSync(spool.fd, target, 0, 5, 0)
  assert.equal(target.toString(), 'hello')
})

test('spool: nobody else can open the file, and nothing is left of it', async () => {
  await using spool = await create()
  const { mode, nlink } = fstatSync(spool.fd)
  assert.equal(mode & 0o777, 0o600)
  assert.equal(nlink, 0)
  assert.deepEqual(await readdir(directory), [])
})

test('spool: a failure reaches every wait, now and later', async () => {
  await using spool = await create()
  await spool.write(Buffer.from('here'))
  const error = new Error('the download failed')
  const read = spool.bytes.readAt(Buffer.alloc(1), 100)
  const wait = spool.waitFor(100)
  spool.fail(error)
  spool.fail(new Error('a later one'))
  await assert.rejects(read, error)
  await assert.rejects(wait, error)
  await assert.rejects(spool.bytes.readAt(Buffer.alloc(1), 0), error)
  await assert.rejects(spool.write(Buffer.from('x')), error)
  await assert.rejects(spool.end(), error)
  assert.equal(spool.bytes.size, undefined)
})

test('spool: cancelling ends every wait with the reason', async () => {
  const controller = new AbortController()
  await using spool = await create(controller.signal)
  const wait = spool.waitFor(1)
  const reason = new Error('cancelled')
  controller.abort(reason)
  await assert.rejects(wait, reason)
  await assert.rejects(create(controller.signal), reason)
})

test('spool: disposing ends every wait', async () => {
  const spool = await create()
  const wait = assert.rejects(spool.waitFor(1), /closed/)
  await spool[Symbol.asyncDispose]()
  await wait
})

/** A file on a disk that takes so many bytes and no more. */
const smallDisk =
  (capacity: number): typeof open =>
  async (...args) => {
    const file = await open(...args)
    let left = capacity
    const write = async (bytes: Uint8Array, from: number, length: number, position: number) => {
      if (left === 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
      const bytesWritten = Math.min(left, length)
      left -= bytesWritten
      await file.write(bytes, from, bytesWritten, position)
      return { bytesWritten, buffer: bytes }
    }
    const read = (...rest: Parameters<FileHandle['read']>) => file.read(...rest)
    return { fd: file.fd, write, read, close: () => file.close() } as unknown as FileHandle
  }

test('spool: a full disk fails as unavailable, with a hint, for writer and reader', async () => {
  const signal = new AbortController().signal
  await using spool = await createSpool({ directory, signal, openFile: smallDisk(3 * MiB + 100) })
  const full = { code: 'unavailable', message: /disk is full/, hint: /Free some space/ }
  const read = assert.rejects(spool.bytes.readAt(Buffer.alloc(1), 4 * MiB), full)
  await assert.rejects(async () => {
    for (let index = 0; index < 8; index++) await spool.write(Buffer.alloc(MiB))
  }, full)
  await read
  await assert.rejects(spool.end(), full)
})

test('spool: short writes are carried on', async () => {
  const signal = new AbortController().signal
  const oneByOne: typeof open = async (...args) => {
    const file = await open(...args)
    const write = (bytes: Uint8Array, from: number, length: number, position: number) =>
      file.write(bytes, from, Math.min(length, 7), position)
    const read = (...rest: Parameters<FileHandle['read']>) => file.read(...rest)
    return { fd: file.fd, write, read, close: () => file.close() } as unknown as FileHandle
  }
  await using spool = await createSpool({ directory, signal, openFile: oneByOne })
  await spool.write(Buffer.from('a sentence of several writes'))
  await spool.end()
  const target = Buffer.alloc(28)
  await spool.bytes.readAt(target, 0)
  assert.equal(target.toString(), 'a sentence of several writes')
})

test('spool: a folder that is not there is unavailable', async () => {
  const signal = new AbortController().signal
  const nowhere = join(directory, 'nowhere')
  await assert.rejects(createSpool({ directory: nowhere, signal }), { code: 'unavailable' })
})
