import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { MiB } from '#base/bytes.ts'
import { DEFAULT_LIMITS } from '#base/limits.ts'
import { openFileSource } from './file-source.ts'

let directory: string
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'file-source-'))
})
after(() => rm(directory, { recursive: true }))

const openFile = (path: string, signal = new AbortController().signal, limits = DEFAULT_LIMITS) =>
  openFileSource({ path, limits, signal })
const make = async (name: string, content: Uint8Array) => {
  const path = join(directory, name)
  await writeFile(path, content)
  return path
}

test('file source: the file arrives whole, whatever its size', async () => {
  for (const size of [0, 1, MiB, MiB + 1, 3 * MiB + 7]) {
    const content = randomBytes(size)
    await using source = await openFile(await make('whole', content))
    assert.equal(source.size, size)
    assert.equal(source.finalUrl, undefined)
    const parts: Buffer[] = []
    for await (const chunk of source.stream) parts.push(Buffer.from(chunk))
    assert.ok(Buffer.concat(parts).equals(content))
    assert.equal(source.received(), size)
  }
})

test('file source: a chunk stays as it is until the next one is asked for', async () => {
  const content = randomBytes(5 * MiB)
  await using source = await openFile(await make('held', content))
  let offset = 0
  for await (const chunk of source.stream) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    assert.ok(content.subarray(offset, offset + chunk.length).equals(chunk))
    offset += chunk.length
  }
  assert.equal(offset, content.length)
})

test('file source: a file that shrinks is truncated, never a short image', async () => {
  const path = await make('shrinks', randomBytes(6 * MiB))
  await using source = await openFile(path)
  await assert.rejects(
    async () => {
      for await (const _chunk of source.stream) await truncate(path, 100)
    },
    { category: 'truncated' },
  )
})

test('file source: what is gone, no file, or a link is refused for good', async () => {
  const link = join(directory, 'link')
  await symlink('/etc/passwd', link)
  for (const path of [join(directory, 'gone'), directory, link]) {
    await assert.rejects(openFile(path), { category: 'source', retryable: false, hint: 'Upload it again.' })
  }
})

test('file source: the size limit holds', async () => {
  const path = await make('big', randomBytes(1000))
  const opening = openFile(path, new AbortController().signal, { ...DEFAULT_LIMITS, sourceSize: 999 })
  await assert.rejects(opening, { category: 'too-large', message: /1000 bytes, more than the limit of 999/ })
})

test('file source: cancelling ends the stream with the reason', async () => {
  const path = await make('cancel', randomBytes(4 * MiB))
  const controller = new AbortController()
  await using source = await openFile(path, controller.signal)
  const reason = new Error('cancelled')
  await assert.rejects(async () => {
    for await (const _chunk of source.stream) controller.abort(reason)
  }, reason)
  await assert.rejects(openFile(path, controller.signal), reason)
})
