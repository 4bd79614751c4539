import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Content, Part, WrittenContent } from '#base/content.ts'
import { openFilesystemStore } from '#data/store/filesystem.ts'
import {
  type ContentStoreOptions,
  createContentStore,
  type OpenContentStore,
} from './create-content-store.ts'

export const { signal } = new AbortController()

/** A content store in an empty folder, and what of it can be looked at. */
export async function openTemporary(t: TestContext, options: Partial<ContentStoreOptions> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'content-'))
  const [storePlace, spoolDirectory] = [join(folder, 'store'), join(folder, 'spool')]
  await mkdir(spoolDirectory)
  const store = await openFilesystemStore(storePlace)
  const kept = { begun: 0, ended: 0 }
  const contents = createContentStore({
    storePlace,
    spoolDirectory,
    store,
    threads: 2,
    reserve: undefined,
    keep: async () => {
      kept.begun++
      return { [Symbol.asyncDispose]: async () => void kept.ended++ }
    },
    ...options,
  })
  t.after(async () => {
    await contents[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })
  const countBlocks = async () => (await Array.fromAsync(store.blocks.list())).length
  return { contents, store, storePlace, spoolDirectory, kept, countBlocks }
}

/** Bytes that LZ4 halves, and that no other seed gives. */
export function exampleBytes(length: number, seed = 1): Buffer {
  const words = new Int32Array(Math.ceil(length / 4))
  let state = seed
  for (let index = 0; index < words.length; index += 2) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    words[index] = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d)
  }
  return Buffer.from(words.buffer, 0, length)
}

export const md5Of = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex')

/** Writes bytes in chunks of some length, from a buffer that is used again. */
export async function write(
  contents: OpenContentStore,
  bytes: Uint8Array,
  chunkLength = 64 * 1024,
): Promise<WrittenContent> {
  await using writer = contents.openWriter({ signal })
  const chunk = Buffer.alloc(chunkLength)
  for (let at = 0; at < bytes.length; at += chunkLength) {
    const part = bytes.subarray(at, at + chunkLength)
    chunk.set(part)
    await writer.write(chunk.subarray(0, part.length))
  }
  chunk.fill(0xff)
  assert.equal(writer.size, bytes.length)
  return await writer.finish()
}

export const wholeOf = (content: Content): Part => {
  const length = content.kind === 'inline' ? content.bytes.length : content.size
  return { content, offset: 0, length }
}

/** Reads a range of some parts, all of them by default. */
export async function read(
  contents: OpenContentStore,
  parts: readonly Part[],
  range?: readonly [offset: number, length: number],
): Promise<Buffer> {
  await using reader = await contents.openReader(parts)
  const [offset, length] = range ?? [0, reader.size]
  const chunks: Buffer[] = []
  for await (const chunk of reader.read(offset, length, signal)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}
