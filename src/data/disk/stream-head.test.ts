import assert from 'node:assert/strict'
import { test } from 'node:test'
import { peek } from './stream-head.ts'

async function* chunks(...texts: string[]) {
  const memory = new Uint8Array(64)
  for (const text of texts) {
    const bytes = Buffer.from(text)
    memory.set(bytes)
    yield memory.subarray(0, bytes.length)
  }
}

async function all(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += Buffer.from(chunk).toString()
  return text
}

test('peek: what was looked at comes again, although chunks share their memory', async () => {
  const peeked = await peek(chunks('abc', 'def', 'ghi'), 4)
  assert.equal(Buffer.from(peeked.head).toString(), 'abcdef')
  assert.equal(peeked.ended, false)
  const more = await peeked.more(8)
  assert.equal(Buffer.from(more.head).toString(), 'abcdefghi')
  assert.equal(await all(more.stream), 'abcdefghi')
})

test('peek: a short stream says that it has ended', async () => {
  const peeked = await peek(chunks('ab'), 10)
  assert.equal(peeked.ended, true)
  assert.equal(await all(peeked.stream), 'ab')
})

test('peek: leaving the stream early lets go of its input', async () => {
  let closed = false
  async function* input() {
    try {
      for (;;) yield Buffer.from('x')
    } finally {
      closed = true
    }
  }
  const peeked = await peek(input(), 2)
  for await (const _ of peeked.stream) break
  assert.ok(closed)
})
