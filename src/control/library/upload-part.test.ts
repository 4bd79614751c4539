import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { GiB, MiB } from '#base/bytes.ts'
import { createRandom } from '#data/codec/codec.fixtures.ts'
import type { ContentEditor } from '#data/content/content.ts'
import { endedBy, type Growth, UploadPart } from './upload-part.ts'

/** An editor of bytes that nobody looks at. */
function editorOf(size: number): ContentEditor & { size: number; fail?: Error } {
  const editor: ContentEditor & { size: number; fail?: Error } = {
    size,
    async write(offset, chunk) {
      assert.equal(offset, editor.size)
      editor.size += chunk.length
    },
    async store() {
      if (editor.fail) throw editor.fail
      return { kind: 'manifest', manifest: `${editor.size}`, form: 'raw', size: editor.size }
    },
    read: () => assert.fail(),
    truncate: () => assert.fail(),
    finish: () => assert.fail(),
    [Symbol.asyncDispose]: async () => {},
  }
  return editor
}

const now = () => 0
const CHUNK = Buffer.alloc(16 * MiB)

test('upload part: what would be lost is little beside what there is, and it is not written down often', async () => {
  const seed = randomInt(2 ** 31)
  const random = createRandom(seed)
  const editor = editorOf(random.below(2 * MiB))
  const growths: Growth[] = []
  const part = new UploadPart({ editor, record: async (growth) => void growths.push(growth), now })
  let known = editor.size
  while (part.size < 20 * GiB) {
    await part.write(CHUNK.subarray(random.below(CHUNK.length)))
    const last = growths.at(-1)
    if (last && last.size > known) {
      assert.deepEqual([last.from, last.content], [known, await editor.store()], `seed ${seed}`)
      assert.ok(last.size - known >= 64 * MiB)
      known = last.size
    }
    assert.ok(part.size - known < Math.max(64 * MiB, known / 8), `seed ${seed}: ${part.size} after ${known}`)
  }
  assert.ok(growths.length < 60, `${growths.length}`)
  await part.record()
  assert.deepEqual([growths.at(-1)?.from, growths.at(-1)?.size], [known, part.size])
})

test('upload part: what could not be stored or written down still counts from where it was', async () => {
  const editor = editorOf(5)
  const growths: Growth[] = []
  let fail: Error | undefined = new Error('no catalog')
  const part = new UploadPart({
    editor,
    now,
    async record(growth) {
      if (fail) throw fail
      growths.push(growth)
    },
  })
  await part.write(CHUNK)
  await assert.rejects(part.record(), /no catalog/)
  fail = undefined
  editor.fail = new Error('no store')
  await assert.rejects(part.record(), /no store/)
  delete editor.fail
  await part.record()
  assert.deepEqual(
    growths.map(({ from, size }) => [from, size]),
    [[5, 5 + CHUNK.length]],
  )
})

test('upload part: of a chunk that was not written wholly, nothing counts', async () => {
  const editor = editorOf(3)
  editor.truncate = async (size) => {
    editor.size = size
  }
  const sizes: number[] = []
  const part = new UploadPart({ editor, record: async ({ size }) => void sizes.push(size), now })
  await part.write(Buffer.alloc(4))
  const { write } = editor
  editor.write = async () => {
    editor.size += 2
    throw new Error('no block')
  }
  await assert.rejects(part.write(Buffer.alloc(8)), /no block/)
  await part.record()
  editor.write = write
  await part.write(Buffer.alloc(8))
  await part.record()
  assert.deepEqual(sizes, [7, 15])
})

test('upload part: a source that is silent ends by a signal, and is told', async () => {
  const controller = new AbortController()
  let isTold = false
  const silent: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => {}),
      return: async () => {
        isTold = true
        return { done: true, value: undefined }
      },
    }),
  }
  const reading = Array.fromAsync(endedBy(controller.signal, silent))
  controller.abort(new Error('enough'))
  await assert.rejects(reading, /enough/)
  assert.equal(isTold, true)
})
