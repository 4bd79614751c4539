import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByteFeed } from './byte-feed.ts'

async function* chunksOf(data: Uint8Array, sizes: readonly number[]) {
  const reused = new Uint8Array(data.length)
  for (let at = 0, turn = 0; at < data.length; turn++) {
    const length = Math.min(sizes[turn % sizes.length] ?? 1, data.length - at)
    // A chunk is valid until the next one is asked for: the same memory is written again.
    reused.fill(0xee)
    reused.set(data.subarray(at, at + length))
    yield reused.subarray(0, length)
    at += length
  }
  reused.fill(0xee)
}

test('byte feed: gives every byte once and in order, whatever the chunks and the calls', async () => {
  const call = fc.record({
    kind: fc.constantFrom('fill', 'readInto', 'skip', 'take'),
    length: fc.nat({ max: 90 }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 400 }),
      fc
        .array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 6 })
        .filter((sizes) => sizes.some((n) => n > 0)),
      fc.array(call, { maxLength: 40 }),
      async (data, sizes, calls) => {
        const feed = new ByteFeed(chunksOf(data, sizes))
        let at = 0
        for (const { kind, length } of calls) {
          if (kind === 'fill') {
            const enough = await feed.fill(length)
            assert.equal(enough, at + length <= data.length)
            assert.deepEqual([...feed.view(length)], [...data.subarray(at, at + length)])
          } else if (kind === 'readInto') {
            const target = new Uint8Array(length)
            const got = await feed.readInto(target)
            assert.deepEqual([...target.subarray(0, got)], [...data.subarray(at, at + length)])
            at += got
          } else if (kind === 'skip') {
            assert.equal(await feed.skip(length), at + length <= data.length)
            at = Math.min(at + length, data.length)
          } else {
            const count = Math.min(length, feed.buffered)
            assert.deepEqual([...feed.view(count)], [...data.subarray(at, at + count)])
            feed.advance(count)
            at += count
          }
          assert.equal(feed.offset, at)
        }
      },
    ),
  )
})

test('byte feed: an aborted wait ends with the reason, also where the input never answers', async () => {
  const stop = new AbortController()
  const silent = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }
  const feed = new ByteFeed(silent, stop.signal)
  const waiting = feed.fill(1)
  stop.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(feed.fill(1), /enough/)
  await feed.close()
})

test('byte feed: close lets go of the input', async () => {
  let closed = false
  async function* input() {
    try {
      yield new Uint8Array(10)
      yield new Uint8Array(10)
    } finally {
      closed = true
    }
  }
  const feed = new ByteFeed(input())
  await feed.fill(3)
  await feed.close()
  assert.ok(closed)
  assert.equal(await feed.fill(11), false)
})

test('byte feed: passes a failure of the input on', async () => {
  async function* input() {
    yield new Uint8Array(3)
    throw new Error('connection lost')
  }
  const feed = new ByteFeed(input())
  await assert.rejects(feed.fill(4), /connection lost/)
})
